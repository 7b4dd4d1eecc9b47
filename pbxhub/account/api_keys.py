"""Creates and revokes API keys. A key is shown once; only its hash is stored."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from pbxhub.account.access import SCOPES, Access, Program, rights_of_scopes
from pbxhub.account.audit_log import note
from pbxhub.account.installation import Installation
from pbxhub.account.refusals import Refusal
from pbxhub.account.texts import one_line
from pbxhub.account.tokens import hash_of
from pbxhub.store.accounts import ApiKey, Project
from pbxhub.translatable import say

LONGEST_NAME = 200  # characters
_SEEN_EVERY = timedelta(minutes=1)
_PREFIX = 10  # characters of a key by which people tell it from others


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key, which is shown once."""

    id: int
    key: str = field(repr=False)


def make_key(session: Session, access: Access, name: str, scopes: Iterable[str]) -> NewKey | list[Refusal]:
    """A key of the project with these scopes."""
    wanted = [scope for scope in SCOPES if scope in set(scopes)]
    called = one_line({"name": name}, "name", LONGEST_NAME, needed=True)
    refused = [called] if isinstance(called, Refusal) else []
    if not wanted or set(scopes) - set(SCOPES):
        refused.append(Refusal("scopes", say("Choose at least one right for the key."), say("Choose what it may do.")))
    if refused or isinstance(called, Refusal):
        return refused
    key = f"pbx_{secrets.token_urlsafe(32)}"
    row = ApiKey(project_id=access.project.id, name=called, key_hash=hash_of(key), prefix=key[:_PREFIX], scopes=wanted,
                 created_on=access.now)  # fmt: skip
    session.add(row)
    session.flush()
    note(session, access, "API key made", row.name, {}, {"may": ", ".join(wanted)})
    return NewKey(row.id, key)


def key_of(session: Session, key: str) -> ApiKey | None:
    """The key that a program sends, None when there is no such key."""
    return session.scalar(select(ApiKey).where(ApiKey.key_hash == hash_of(key))) if key else None


def is_use_to_note(row: ApiKey, now: datetime) -> bool:
    """Whether "last used" is older than a minute: a busy key must not write with every request."""
    return row.used_on is None or now - row.used_on > _SEEN_EVERY


def note_use(session: Session, row: ApiKey, now: datetime) -> None:
    """Writes when a key was used last."""
    session.execute(update(ApiKey).where(ApiKey.id == row.id).values(used_on=now))


def access_of_key(session: Session, row: ApiKey, hub: Installation, address: str, *, changing: bool) -> Access | None:
    """What a program may do in the project of its key; None when that is gone. changing: of two requests that change
    what they have read (If-Match), the second one waits, and then finds another ETag."""
    project = session.get(Project, row.project_id, with_for_update={"key_share": True} if changing else None)
    return Access(project, Program(row.name), rights_of_scopes(row.scopes), hub, address=address) if project else None


def keys_of(session: Session, access: Access) -> Sequence[ApiKey]:
    """The keys of the project, newest first."""
    return session.scalars(
        select(ApiKey).where(ApiKey.project_id == access.project.id).order_by(ApiKey.id.desc())
    ).all()


def revoke_key(session: Session, access: Access, row: ApiKey) -> None:
    """Programs with this key are refused from now on."""
    note(session, access, "API key deleted", row.name)
    session.delete(row)
