"""Who may do what: one table of rights in a project, by role for people and by scope for programs; and one of the
operators' rights on the hub, which no role and no key includes."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.refusals import NotFoundError
from pbxhub.settings import Settings
from pbxhub.store.accounts import Membership, Project
from pbxhub.store.clock import utc_now
from pbxhub.vault import Vault
from pbxhub.webhooks.working_time import Calendar, calendar

if TYPE_CHECKING:  # a command that changes a user or adds a PBX starts without what sends
    from pbxhub.account.installation import Installation

Role = Literal["viewer", "editor", "owner"]
ROLES: tuple[Role, ...] = ("viewer", "editor", "owner")
Scope = Literal["read", "write", "call", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "write", "call", "admin")
Right = Literal[
    "account.read", "webhooks.change", "connections.change", "deliveries.change", "employees.change", "numbers.change",
    "calls.order", "events.send", "dial_plan.change", "pbxs.change", "project.change", "alerts.change",
    "members.change", "keys.change", "audit.read", "content.remove",
    "filters.change",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """Who has a right: members with this role or a higher one, keys with this scope. what: for the documentation."""

    role: Role
    scope: Scope
    what: str


RIGHTS: dict[Right, Rule] = {
    "account.read": Rule("viewer", "read", "See calls, deliveries, webhooks, PBXs, employees and numbers; no secrets"),
    "webhooks.change": Rule("editor", "write", "Add, change, test, pause and delete webhooks; see their secrets"),
    "connections.change": Rule(
        "editor", "write", "Add, connect, test, change and delete connections; their secrets and tokens are never shown"
    ),
    "deliveries.change": Rule("editor", "write", "Mark failed deliveries as checked, send them again"),
    "filters.change": Rule("editor", "write", "Save filters of lists for the project, delete them"),
    "content.remove": Rule("owner", "admin", "Remove the content of deliveries and calls for good"),
    "employees.change": Rule("editor", "write", "Add, change and delete employees"),
    "numbers.change": Rule("editor", "write", "Add, change and delete numbers"),
    "calls.order": Rule("editor", "call", "Place calls, cancel them; pause queue members"),
    "events.send": Rule("editor", "call", "Send events and attributes of calls to the hub"),
    "dial_plan.change": Rule("owner", "admin", "Decide which numbers ordered calls may dial, and how"),
    "pbxs.change": Rule("owner", "admin", "Add, change, check and delete PBXs"),
    "project.change": Rule("owner", "admin", "Change the project's settings, revoke links to recordings, delete it"),
    "alerts.change": Rule("owner", "admin", "Decide where the project's notices go"),
    "members.change": Rule("owner", "admin", "Invite people, change their roles, remove them"),
    "keys.change": Rule("owner", "admin", "Make and revoke API keys"),
    "audit.read": Rule("owner", "admin", "Read the audit log"),
}
"""The table that pages, API and docs/security.md share. Roles include the ones below them; scopes do not, except that
"write" reads what it changes and "admin" may all that an owner may."""

_INCLUDED: dict[Scope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write"}),
    "call": frozenset({"call"}),
    "admin": frozenset(SCOPES),
}

OperatorRight = Literal[
    "hub.read", "operators.change", "projects.add", "pbx_files.change", "pbx_address.any", "networks.change",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class OperatorRule:
    """A right of operators. setting: the variable that gives it to everybody who signs in; "" for none."""

    what: str
    setting: str = ""


OPERATOR_RIGHTS: dict[OperatorRight, OperatorRule] = {
    "hub.read": OperatorRule(
        "See all users, projects with their owners, PBXs and networks, and what operators changed"
    ),
    "operators.change": OperatorRule("Make users operators, take that right back; one operator always stays"),
    "projects.add": OperatorRule("Make projects", "PBXHUB_PROJECTS=everyone"),
    "pbx_files.change": OperatorRule("Name the CEL file or table and the recordings folder of a PBX"),
    "pbx_address.any": OperatorRule("Connect a PBX of their project at any address, not only in its networks"),
    "networks.change": OperatorRule("Grant a project networks: for its PBXs, and for its webhooks"),
}
"""What operators may; the setting beside a right gives it to everybody. An operator is no member of a project by that:
calls, webhooks and secrets of a project are for its members only. A key never has any of these rights."""


class Actor(Protocol):
    """The person or program that acts, for the audit log. id: of a user; None for a program. email: "API key NAME" for
    a program."""

    @property
    def id(self) -> int | None: ...

    @property
    def email(self) -> str: ...

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Program:
    """A program with an API key: it is not a user, but appears in the audit log."""

    name: str
    id: None = None

    @property
    def email(self) -> str:
        return f"API key {self.name}"[:255]


@dataclass(frozen=True, slots=True)
class Crm:
    """A CRM that knows the address of the project for calls (account/crm_calls.py)."""

    name: str = "CRM"
    id: None = None
    email: str = "CRM, by the address for calls"


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The person who runs `pbxhub` on the server, with all rights of an operator."""

    name: str = "command line"
    email: str = "command line"
    id: None = None


class Hub(Protocol):
    """What the rules use of a hub that sends nothing by them: the command line opens no more of it."""

    @property
    def settings(self) -> Settings: ...

    @property
    def vault(self) -> Vault: ...


@dataclass(frozen=True, slots=True)
class HubAccess:
    """A person outside of any project, who creates a project or is an operator."""

    user: Actor
    hub: Hub
    operator: bool = False
    address: str = ""  # where the request came from, for the audit log
    now: datetime = field(default_factory=utc_now)  # when it came


@dataclass(frozen=True, slots=True)
class ProjectAccess:
    """A person or a program inside a project. operator: whether they run the hub itself."""

    project: Project
    user: Actor
    rights: frozenset[Right]
    hub: Hub
    operator: bool = False
    address: str = ""  # where the request came from, for the audit log
    now: datetime = field(default_factory=utc_now)  # when it came

    def may(self, right: Right) -> bool:
        return right in self.rights

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.project.time_zone)

    @property
    def calendar(self) -> Calendar:
        return calendar(self.zone, self.project.working_hours, self.project.holidays)


@dataclass(frozen=True, slots=True)
class Access(ProjectAccess):
    """The same on the running hub: what the pages and the API give, for rules that may send something."""

    hub: "Installation"


def access_of_member(session: Session, by: HubAccess, hub: "Installation", project_id: int) -> Access | None:
    """What a user may do in a project; None for a stranger, and where there is no project."""
    found = session.execute(
        select(Project, Membership.role)
        .join(Membership, Membership.project_id == Project.id)
        .where(Project.id == project_id, Membership.user_id == by.user.id)
    ).first()
    if found is None:
        return None
    rights = rights_of_role(cast(Role, found[1]))
    return Access(found[0], by.user, rights, hub, by.operator, by.address, by.now)


class OfProject(Protocol):
    """A table whose rows belong to projects."""

    project_id: Any


RowT = TypeVar("RowT", bound=OfProject)


def row_of(session: Session, access: Access, kind: type[RowT], row_id: int | UUID, changing: bool = False) -> RowT:
    """A row of the project by its id. Raises NotFoundError for anything else.

    changing: locked, so that of two requests that change the version they have read only the first one does.
    """
    row = session.get(kind, row_id, with_for_update={"key_share": True} if changing else None)
    if row is None or row.project_id != access.project.id:
        raise NotFoundError
    return row


def rights_of_role(role: Role) -> frozenset[Right]:
    """What a member with this role may."""
    rank = ROLES.index(role)
    return frozenset(right for right, rule in RIGHTS.items() if ROLES.index(rule.role) <= rank)


def rights_of_scopes(scopes: list[str]) -> frozenset[Right]:
    """What a key with these scopes may. A scope that is not known gives nothing."""
    granted = frozenset[Scope]().union(*(_INCLUDED[scope] for scope in SCOPES if scope in scopes))
    return frozenset(right for right, rule in RIGHTS.items() if rule.scope in granted)


def may_operate(operator: bool, right: OperatorRight, settings: Settings) -> bool:
    """Whether a user has a right of operators; "projects.add" is everybody's where PBXHUB_PROJECTS says so."""
    return operator or (right == "projects.add" and settings.projects == "everyone")
