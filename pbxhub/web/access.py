"""The one door of every page: who asks, in which project, with which role. A stranger learns nothing: 404."""

from dataclasses import dataclass
from typing import Literal, cast
from zoneinfo import ZoneInfo

from flask import abort, g
from flask_login import current_user
from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.store.accounts import Membership, Project
from pbxhub.web.users import Account

Role = Literal["viewer", "editor", "owner"]
ROLES: tuple[Role, ...] = ("viewer", "editor", "owner")


@dataclass(frozen=True, slots=True)
class Program:
    """Whoever comes with an API key: no user, but the history names it."""

    name: str
    id: None = None

    @property
    def email(self) -> str:
        return f"API key {self.name}"[:255]


@dataclass(frozen=True, slots=True)
class Access:
    """A signed-in user, or a program with a key, inside a project they belong to."""

    project: Project
    role: Role
    user: Account | Program

    def may(self, role: Role) -> bool:
        """Whether the user's role is this one or higher: viewer < editor < owner."""
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.project.time_zone)


def signed_in() -> Account:
    """The user of this request. Without one the browser is sent to sign in (401)."""
    if not current_user.is_authenticated:
        abort(401)
    account: Account = current_user._get_current_object()
    return account


def enter(session: Session, project_id: int, role: Role = "viewer") -> Access:
    """Lets a member with this role or a higher one in. 401 when not signed in, 404 for a stranger, 403 for a role
    that is too low. The templates find the result as `access`."""
    user = signed_in()
    found = session.execute(
        select(Project, Membership.role)
        .join(Membership, Membership.project_id == Project.id)
        .where(Project.id == project_id, Membership.user_id == user.id)
    ).first()
    if found is None:
        abort(404)
    access = Access(found[0], cast(Role, found[1]), user)
    g.access = access
    if not access.may(role):
        abort(403)
    return access
