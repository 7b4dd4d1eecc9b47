"""Calls begun in a CRM: the project's own address for them, and what becomes of a request to it."""

import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, Crm
from pbxhub.account.audit_log import note
from pbxhub.account.call_orders import CallOrder, order_call
from pbxhub.account.crm_requests import CrmRequest, too_much
from pbxhub.account.installation import Installation
from pbxhub.account.refusals import Refusal
from pbxhub.account.texts import one_line
from pbxhub.account.tokens import hash_of
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.calls.stages import JSON
from pbxhub.delivery.call_rows import CallNow
from pbxhub.delivery.stage_values import Lookups
from pbxhub.steering.dialplan_text import EXTENSION
from pbxhub.store.accounts import Employee, Project, lock_project
from pbxhub.store.dial_addresses import DialAddress, DialKeys
from pbxhub.store.ids import first_id_at, new_id
from pbxhub.store.ordered_calls import FINAL, OrderedCall
from pbxhub.translatable import say
from pbxhub.webhooks.phones import person_of

_NONE = "-"
SAME_CLICK = timedelta(seconds=5)
"""A second request for the same employee and number within this time is the same call: a double click, a repetition."""


def address_of(session: Session, access: Access) -> str:
    """The whole address with its key; "" while the project has none."""
    row = session.get(DialAddress, access.project.id)
    if row is None or not row.enabled:
        return ""
    return f"{access.hub.settings.public_url}/dial?key={DialKeys(access.hub.vault).key(row)}"


def renew_address(session: Session, access: Access) -> None:
    """Makes an address, or a new one in place of the former, which stops working."""
    row = session.get(DialAddress, access.project.id)
    if row is None:
        row = DialAddress(project_id=access.project.id, enabled=False)
        session.add(row)
    if not row.enabled:  # that of a set that was deleted is another one
        row.set_name = row.crm_host = ""
    row.enabled, row.salt, row.removed_on = True, secrets.token_urlsafe(16), None
    note(session, access, "calls from the CRM changed", access.project.name, {}, {"address": "new"})


def remove_address(session: Session, access: Access) -> None:
    """CRMs can no longer order calls. The settings stay for a later address."""
    row = session.get(DialAddress, access.project.id)
    if row is not None and row.enabled:
        row.enabled, row.set_name, row.crm_host = False, "", ""
        note(session, access, "calls from the CRM changed", access.project.name, {}, {"address": "removed"})


def make_address_with_set(session: Session, access: Access, set_name: str, crm_host: str) -> None:
    """The address for a set whose CRM can begin calls; it goes with the set. One that was made by itself stays as it
    is. crm_host: as https://HOST."""
    if not address_of(session, access):
        renew_address(session, access)
        row = session.get_one(DialAddress, access.project.id)
        row.set_name, row.crm_host = set_name, crm_host


def remove_address_with_set(session: Session, access: Access, set_name: str) -> None:
    """A webhook has left the set. Without a last one there is no set: no more calls by the address that was made with
    it. Needs lock_project(): of two that delete the last two webhooks, one must see that there is none."""
    row = session.get(DialAddress, access.project.id)
    if row is None or not row.enabled or not set_name or row.set_name != set_name:
        return
    session.flush()
    if not any(each.set_name == set_name for each in live_webhooks(session, access)):
        row.enabled, row.removed_on = False, access.now
        note(session, access, "calls from the CRM changed", access.project.name, {}, {"address": "removed"})


def bring_address_back(session: Session, access: Access, set_name: str, deleted_on: datetime | None) -> None:
    """The deletion of that moment is undone: the address that was removed by it, and by nothing else, is there again.
    It orders calls, so it stays removed when this user may not make one."""
    row = session.get(DialAddress, access.project.id)
    ours = row is not None and not row.enabled and row.set_name == set_name and row.removed_on is not None
    if row is not None and ours and row.removed_on == deleted_on and access.may("keys.change"):
        row.enabled, row.removed_on = True, None
        note(session, access, "calls from the CRM changed", access.project.name, {}, {"address": "brought back"})


def is_without_address(session: Session, access: Access, set_name: str) -> bool:
    """Whether the address that was made with this set is still removed."""
    row = session.get(DialAddress, access.project.id)
    return row is not None and not row.enabled and row.removed_on is not None and row.set_name == set_name


def set_with_address(session: Session, access: Access) -> str:
    """The name of the set that the project's address belongs to; "" for none."""
    row = session.get(DialAddress, access.project.id)
    return row.set_name if row is not None and row.enabled else ""


def crm_of_address(session: Session, access: Access) -> str:
    """The CRM that may be told the address, as https://HOST; "" for none."""
    row = session.get(DialAddress, access.project.id)
    return row.crm_host if row is not None and row.enabled else ""


def change_address(session: Session, access: Access, given: Mapping[str, Any]) -> list[Refusal]:
    """token: Bitrix24's application token, "" keeps it, "-" removes it. callback_extension: see DialAddress."""
    row = session.get_one(DialAddress, access.project.id)
    token, extension = one_line(given, "token", 200), one_line(given, "callback_extension", 80)
    if isinstance(token, Refusal) or isinstance(extension, Refusal):
        return [each for each in (token, extension) if isinstance(each, Refusal)]
    if extension and not EXTENSION.fullmatch(extension):
        remedy = say("Use digits, Latin letters, - and _.")
        return [Refusal("callback_extension", say("This is not an extension."), remedy)]
    before: dict[str, JSON] = {"callback_extension": row.callback_extension, "token": bool(row.token_hash)}
    if token:
        row.token_hash = hash_of(token) if token != _NONE else ""
    row.callback_extension = extension
    after: dict[str, JSON] = {"callback_extension": row.callback_extension, "token": bool(row.token_hash)}
    note(session, access, "calls from the CRM changed", access.project.name, before, after)
    return []


def enter_by_key(session: Session, hub: Installation, key: str, address: str) -> tuple[Access, DialAddress] | None:
    """The project whose address has this key; None when there is none. It may order calls and nothing else."""
    row = DialKeys(hub.vault).address_of(session, key)
    project = session.get(Project, row.project_id) if row else None
    if row is None or not row.enabled or project is None:
        return None
    return Access(project, Crm(), frozenset({"calls.order"}), hub, address=address), row


def call_for_crm(
    session: Session, access: Access, row: DialAddress, asked: CrmRequest
) -> OrderedCall | list[Refusal] | None:
    """Orders the call, or says why not; None for a request that asks for no call. Raises BusyError as order_call."""
    if asked.sender == "bitrix24" and row.token_hash and not hmac.compare_digest(hash_of(asked.token), row.token_hash):
        remedy = say("Enter the application token that Bitrix24 shows on the page Calls from the CRM.")
        return [Refusal("auth[application_token]", say("The application token is another one."), remedy)]
    if asked.kind == "other":
        return None
    if refused := too_much(asked.custom):
        return [refused]
    extension = _extension(session, access, row, asked)
    if isinstance(extension, Refusal):
        return [extension]
    lock_project(session, access.project.id)
    if (there := _same_click(session, access, extension, asked.to)) is not None:
        return there
    custom = {"crm": asked.sender, **asked.custom}
    made = order_call(
        session, access, CallOrder(asked.to, extension, asked.name[:200], asked.from_number, None, "", {}, {}, custom)
    )
    return [_in_words_of(asked, each) for each in made] if isinstance(made, list) else made


def _same_click(session: Session, access: Access, extension: str, to: str) -> OrderedCall | None:
    """The call that an earlier request of the same click has ordered. One that is over already is another call."""
    since, country = access.now - SAME_CLICK, access.project.country
    recent = select(OrderedCall).where(
        OrderedCall.project_id == access.project.id, OrderedCall.id > first_id_at(since),
        OrderedCall.created_on > since, OrderedCall.agent_id == extension, OrderedCall.status.not_in(FINAL),
    )  # fmt: skip
    found = session.scalars(recent.order_by(OrderedCall.id.desc()))
    return next((one for one in found if person_of(one.mobile_number, country) == person_of(to, country)), None)


def _extension(session: Session, access: Access, row: DialAddress, asked: CrmRequest) -> str | Refusal:
    if asked.kind == "callback":
        return _for_callback(session, access, row, asked)
    lookups, project_id = Lookups(session), access.project.id
    if asked.sender == "bitrix24":  # its ids are numbers too: user 101 need not have the extension 101
        found = lookups.extension_with_id(project_id, asked.who)
    else:
        found = lookups.extension_of(project_id, asked.who) or _by_mail(session, access, asked.who)
        found = found or (asked.who if EXTENSION.fullmatch(asked.who) else "")
    if found:
        return found
    field = "data[USER_ID]" if asked.sender == "bitrix24" else "from"
    why = say("No employee has the id %(who)s in the CRM.", who=repr(asked.who))
    return Refusal(field, why, say("Enter it as the id in the CRM on the card of the employee."))


def _by_mail(session: Session, access: Access, who: str) -> str:
    query = select(Employee.extension).where(Employee.project_id == access.project.id, Employee.email == who)
    return session.scalar(query.order_by(Employee.id).limit(1)) or "" if "@" in who else ""


def _for_callback(session: Session, access: Access, row: DialAddress, asked: CrmRequest) -> str | Refusal:
    """Who talked with the visitor last, if they have a card; otherwise the extension for callbacks."""
    lookups, project = Lookups(session), access.project
    visitor = CallNow(
        new_id(), project.id, None, "", True, direction="outgoing", caller=asked.to, started_on=access.now
    )
    known = lookups.extension_of(project.id, lookups.last_extension(visitor, project.country))
    if known or row.callback_extension:
        return known or row.callback_extension
    why = say("A visitor asks to be called back, and nobody is named for that.")
    return Refusal("", why, say("Enter an extension for callbacks on the page Calls from the CRM."))


def _in_words_of(asked: CrmRequest, refused: Refusal) -> Refusal:
    """With the names that the sender has given to the fields."""
    names = {"mobile_number": "to", "agent_id": "from"}
    if asked.sender == "bitrix24":
        names = {"mobile_number": "data[PHONE_NUMBER]", "agent_id": "data[USER_ID]"}
    return Refusal(names.get(refused.path, refused.path), refused.sentence, refused.remedy)
