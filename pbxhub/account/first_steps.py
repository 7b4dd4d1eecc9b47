"""The first steps of a project, and of a connection, ticked by what has happened and not by what was pressed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, exists, func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.crm_calls import set_with_address
from pbxhub.store.accounts import Employee, Pbx
from pbxhub.store.delivery_rows import DELIVERED, Delivery
from pbxhub.store.history import Call
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.check import used_parameters


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """pbx: one is entered. connected: the hub has reached one. called: a call was seen. webhook: one of the project's
    own exists. delivered: a receiver has accepted a request."""

    pbx: bool
    connected: bool
    called: bool
    webhook: bool
    delivered: bool

    @property
    def are_done(self) -> bool:
        return all((self.pbx, self.connected, self.called, self.webhook, self.delivered))


def first_steps(
    session: Session, access: Access, pbxs: Sequence[Pbx], called: bool = False, delivered: bool = False
) -> FirstSteps:
    """How far a project has come that has these PBXs. called, delivered: known, and not looked for."""
    project_id = access.project.id
    own = (Webhook.project_id == project_id, Webhook.kind == "event", ~Webhook.locked, Webhook.deleted_on.is_(None))
    # found webhook by webhook, by the index of their deliveries, in one statement however many webhooks there are
    accepted = exists().where(Delivery.webhook_id == Webhook.id, Delivery.state == DELIVERED)
    any_call = select(Call.id).where(Call.project_id == project_id).limit(1)
    any_delivered = select(Webhook.id).where(Webhook.project_id == project_id, accepted).limit(1)
    return FirstSteps(
        pbx=bool(pbxs), connected=any(pbx.asterisk_version for pbx in pbxs),
        called=called or _is_there(session, any_call),
        webhook=_is_there(session, select(Webhook.id).where(*own).limit(1)),
        delivered=delivered or _is_there(session, any_delivered),
    )  # fmt: skip


def _is_there(session: Session, query: Select[Any]) -> bool:
    return session.execute(query).first() is not None


@dataclass(frozen=True, slots=True)
class LeftToDo:
    """What is left before a connection is of use. off: none of its webhooks is switched on. without_id: how many
    employees lack the id in the CRM that a webhook sends. dial: the CRM may begin calls, by an address that belongs to
    one of its sets, and nothing is switched on yet."""

    off: bool
    without_id: int
    dial: bool


def left_to_do(session: Session, access: Access, users: Sequence[Webhook]) -> LeftToDo:
    """users: the webhooks of the connection."""
    off = bool(users) and not any(row.enabled for row in users)
    named = any(name == "manager_id" for row in users for _, name in used_parameters(row.spec))
    lacking = select(func.count(Employee.id)).where(Employee.project_id == access.project.id, Employee.crm_id == "")
    dial = off and set_with_address(session, access) in {row.set_name for row in users if row.set_name}
    return LeftToDo(off, session.scalars(lacking).one() if named else 0, dial)
