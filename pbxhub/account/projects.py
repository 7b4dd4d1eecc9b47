"""Projects: who may create one, with which name, time zone and country; and which ones there are."""

from collections.abc import Mapping
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from babel import Locale
from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, HubAccess, may_operate
from pbxhub.account.audit_log import note_of_hub
from pbxhub.account.operators import operators_of
from pbxhub.account.refusals import Refusal
from pbxhub.account.texts import read_lines
from pbxhub.store.accounts import Membership, Project, User
from pbxhub.store.new_projects import add_project
from pbxhub.translatable import Sentence, say

LONGEST = {"name": 200, "time_zone": 64, "country": 2}  # characters
_MOST_NAMED = 3
_MOST_CHOICES = 30


def refuse_new_project(session: Session, by: HubAccess) -> Refusal | None:
    """Why a user may not make a project: only operators may, unless PBXHUB_PROJECTS says everyone."""
    if may_operate(by.operator, "projects.add", by.hub.settings):
        return None
    known = ", ".join(user.email for user in operators_of(session)[:_MOST_NAMED])
    return Refusal(
        "",
        say("On this hub, operators create the projects."),
        say("Ask %(who)s to create one for you.", who=known),
    )


def make_project(session: Session, by: HubAccess, given: Mapping[str, Any]) -> Project | list[Refusal]:
    """A new project, or everything that is wrong with its settings. Who makes it is its owner; the command line makes
    one without members. A project of an operator's may reach all of PBXHUB_ALLOWED_NETWORKS."""
    read = read_project({"name": "", **given})
    if isinstance(read, list):
        return read
    project = Project(created_on=by.now, webhook_networks=None if by.operator else [], **read)
    add_project(session, project)
    if by.user.id is not None:
        session.add(Membership(project_id=project.id, user_id=by.user.id, role="owner", created_on=by.now))
    note_of_hub(session, by, "project added", project.name, project_id=project.id)
    return project


def find_project(session: Session, wanted: str) -> Project | Refusal:
    """The project with this name or number, as the command line gives it."""
    number = int(wanted) if wanted.isascii() and wanted.isdigit() else None
    found = list(session.scalars(select(Project).where(or_(Project.name == wanted, Project.id == number))))
    if len(found) == 1:
        return found[0]
    why = say("%(n)s projects have this name.", n=len(found)) if found else say("There is no such project.")
    return Refusal("project", why, _choose(session))


def project_for_pbx(session: Session, by: HubAccess, wanted: str | None) -> Project | Refusal | list[Refusal]:
    """The project that a PBX from the command line belongs to: the only one, unless another is named. While the hub has
    no account, a new one is made where needed: the first account will own all projects."""
    known = session.scalars(select(Project).limit(2)).all()
    found = find_project(session, wanted) if wanted is not None else None
    if not isinstance(found, Refusal) and (found or len(known) == 1):
        return found or known[0]
    if session.scalar(select(User.id).limit(1)) is None and (wanted is not None or not known):
        return make_project(session, by, {"name": wanted or "My project"})
    if not known:
        return Refusal(
            "project", say("This hub has no project."), say("Sign in and create one, then run this command again.")
        )
    return found or Refusal("project", say("This hub has several projects."), _choose(session))


def _choose(session: Session) -> Sentence:
    known = session.execute(select(Project.id, Project.name).order_by(Project.id).limit(_MOST_CHOICES)).all()
    named = ", ".join(f"{number} ({name})" for number, name in known)
    return say("Give --project with the number or the name of one: %(projects)s.", projects=named)


def projects_of(session: Session, user_id: int) -> list[tuple[Project, str]]:
    """The projects of a user with the user's role, by name."""
    mine = select(Project, Membership.role).join(Membership).where(Membership.user_id == user_id)
    return [(row[0], row[1]) for row in session.execute(mine.order_by(Project.name, Project.id))]


def delete_project(session: Session, access: Access) -> None:
    """Deletes the project with everything in it."""
    note_of_hub(session, access, "project deleted", access.project.name)
    session.execute(delete(Project).where(Project.id == access.project.id))


def read_project(given: Mapping[str, Any]) -> dict[str, str] | list[Refusal]:
    """The settings of a project, checked. A country in small letters is taken in capitals."""
    read = read_lines(given, LONGEST, frozenset({"name", "time_zone"}))
    if isinstance(read, list):
        return read
    if "country" in read:
        read["country"] = read["country"].upper()
    refused = []
    if "time_zone" in read and read["time_zone"] not in time_zones():
        refused.append(Refusal("time_zone", say("This is not a time zone."), say("Give an IANA name, Europe/Kyiv.")))
    if read.get("country") and read["country"] not in countries():
        refused.append(
            Refusal(
                "country",
                say("This is not a country."),
                say("Give two letters of ISO 3166, such as UA, or leave it empty."),
            )
        )
    return refused or read


@cache
def time_zones() -> tuple[str, ...]:
    """UTC, and every zone that is named after a place: the others are shorthands that clocks changed under."""
    named = {zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/")}
    return ("UTC", *sorted(named))


@cache
def countries() -> frozenset[str]:
    """The two letters of ISO 3166 of every country."""
    codes = map(str, Locale.parse("en").territories)
    return frozenset(code for code in codes if len(code) == 2 and code.isalpha()) - _NO_COUNTRIES


_NO_COUNTRIES = frozenset({"EU", "EZ", "UN", "QO", "XA", "XB", "ZZ"})
