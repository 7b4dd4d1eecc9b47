"""The first owner of a hub: the person with the link that the first start printed. There is no default password.

The link is random, printed once, and works once; its hash is in the database. A file in the data folder records that
there was an owner: if the database is lost or replaced by an empty one, the hub must not be given to the first visitor.
Only `pbxhub setup-link`, on the server, opens the setup again.
"""

import secrets
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from pbxhub.account.tokens import hash_of
from pbxhub.settings import Settings
from pbxhub.store.accounts import Membership, Project, User
from pbxhub.store.new_projects import add_project
from pbxhub.store.session import Database, insert_into
from pbxhub.store.sign_in_rows import FirstSetup
from pbxhub.translatable import Sentence, say

_MARKER = "owner"
_ONE = 1  # the id of the only row


@dataclass(frozen=True, slots=True)
class Setup:
    """How a start finds the hub. link: to make the first account, shown to nobody but the terminal; empty when this
    start has made none. sentence: what the operator should know, None once all is well."""

    link: str
    sentence: Sentence | None


def first_setup(settings: Settings, database: Database, now: datetime, anew: bool = False) -> Setup:
    """Called at every start of the pages. anew: the operator requests a new link; the old one stops working."""
    with database.write() as session:
        if has_owner(session):
            remember_owner(settings.data_dir)
            return Setup(
                "",
                say("This hub has an owner. Run pbxhub user link to create a link for an account.") if anew else None,
            )
        if not anew and had_owner(settings.data_dir):
            return Setup("", lost_database())
        token = _new_token(session, now, anew)
    if not token:
        sentence = say("No account yet. The first start printed the link to create it; `pbxhub setup-link` prints a "
        "new one.")  # fmt: skip
        return Setup("", sentence)
    link = f"{settings.public_url}/setup?token={token}"
    return Setup(link, say("First start: create your account at %(link)s", link=link))


def is_open(session: Session, data_dir: Path, token: str) -> bool:
    """Whether this token can create the first owner now."""
    row = session.scalar(select(FirstSetup).where(FirstSetup.token_hash == hash_of(token)))
    return row is not None and not has_owner(session) and (row.asked_for or not had_owner(data_dir))


def use(session: Session, token: str) -> bool:
    """Uses the token up: of two requests at once, one gets True."""
    done = session.execute(delete(FirstSetup).where(FirstSetup.token_hash == hash_of(token)))
    return done.rowcount == 1  # type: ignore[attr-defined,no-any-return]


def make_owner(
    session: Session, email: str, name: str, hashed: str, settings: Mapping[str, str], now: datetime
) -> User:
    """The first user, an operator. They own the projects that are there (the demo), or a new one. settings: name,
    time_zone and country of their project, as read_project gives them."""
    user = User(
        email=email, name=name, password=hashed, fs_uniquifier=uuid.uuid4().hex, operator=True, email_confirmed_on=now,
        recovery_codes=[], created_on=now,
    )  # fmt: skip
    projects = list(session.scalars(select(Project).order_by(Project.id)))
    if not projects:
        projects = [Project(name=settings["name"], created_on=now)]
        add_project(session, projects[0])
    for field, text in settings.items():
        setattr(projects[0], field, text)
    session.add(user)
    session.flush()
    for project in projects:
        session.add(Membership(project_id=project.id, user_id=user.id, role="owner", created_on=now))
    return user


def has_owner(session: Session) -> bool:
    """Whether there is a user who can sign in."""
    return session.scalar(select(User.id).limit(1)) is not None


def had_owner(data_dir: Path) -> bool:
    """Whether this host has recorded an owner."""
    return (data_dir / _MARKER).exists()


def remember_owner(data_dir: Path) -> None:
    """On every host that serves the pages. Where the folder cannot be written, the random link has to be enough."""
    with suppress(OSError):
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        (data_dir / _MARKER).touch(mode=0o600)


def lost_database() -> Sentence:
    """What is wrong when a database without users meets the marker, and what to do."""
    return say("This hub had an owner, but its database has no users: the database was lost, emptied or replaced by "
    "another. Check PBXHUB_DATABASE_URL and PBXHUB_DATA_DIR, and restore the database from a backup. To start over "
    "with this one, run on the server: pbxhub setup-link")  # fmt: skip


def _new_token(session: Session, now: datetime, anew: bool) -> str:
    """Of several processes that start at once one gets it; the others get an empty one."""
    token = secrets.token_urlsafe(32)
    if anew:
        session.execute(delete(FirstSetup))
    row = {"id": _ONE, "token_hash": hash_of(token), "asked_for": anew, "created_on": now}
    made = session.scalar(
        insert_into(session, FirstSetup).values(row).on_conflict_do_nothing().returning(FirstSetup.id)
    )
    return token if made else ""
