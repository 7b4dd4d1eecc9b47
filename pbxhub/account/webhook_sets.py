"""Sets: webhooks that belong together, such as the four of a CRM. They are switched, renamed and deleted together.

A webhook is in the set whose name it has. A set exists as long as a webhook is in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.crm_calls import set_with_address
from pbxhub.account.refusals import NotFoundError
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.account.webhooks import UNDONE, incomplete, put_back_deleted, remove, switch
from pbxhub.store.accounts import lock_project
from pbxhub.store.dial_addresses import DialAddress
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.chains import loose_ends
from pbxhub.webhooks.check import check_set_name
from pbxhub.webhooks.spec import FieldError, SpecError
from pbxhub.webhooks.spec_json import join, wrong_at


@dataclass(frozen=True, slots=True)
class WebhookSet:
    """Webhooks of one name of a set, in the order of the table."""

    name: str
    webhooks: list[Webhook]

    @property
    def enabled(self) -> bool:
        """Whether all of it is switched on."""
        return all(row.enabled for row in self.webhooks)


def in_sets(rows: Iterable[Webhook]) -> list[WebhookSet]:
    """The webhooks in the order of the table, each set where its first webhook stands. "" for webhooks of no set, each
    run of them between two sets."""
    rows, first = list(rows), dict[str, int]()
    for place, row in enumerate(rows):
        first.setdefault(row.set_name, place)
    together = sorted(enumerate(rows), key=lambda each: first[each[1].set_name] if each[1].set_name else each[0])
    grouped = groupby((row for _, row in together), key=lambda row: row.set_name)
    return [WebhookSet(name, list(group)) for name, group in grouped]


def sets_of(session: Session, access: Access) -> list[WebhookSet]:
    """Every set of the project, by name."""
    found = (each for each in in_sets(live_webhooks(session, access)) if each.name)
    return sorted(found, key=lambda each: each.name)


def set_named(session: Session, access: Access, name: str) -> WebhookSet:
    """Raises NotFoundError when no webhook of the project is in it."""
    found = next((each for each in sets_of(session, access) if each.name == name), None)
    if found is None:
        raise NotFoundError
    return found


def switch_set(session: Session, access: Access, found: WebhookSet, on: bool) -> None:
    """All on or all off. Raises SpecError with everything that one of them lacks; then nothing is switched."""
    lacking = [
        FieldError(join(row.name, error.path), error.message)
        for row in found.webhooks
        for error in (incomplete(session, access, row) if on else ())
    ]
    if lacking:
        raise SpecError(lacking)
    for row in found.webhooks:
        switch(session, access, row, on)


def remove_set(session: Session, access: Access, found: WebhookSet) -> None:
    """Deletes its webhooks, each as if it were deleted alone."""
    for row in found.webhooks:
        remove(session, access, row)


def bring_set_back(session: Session, access: Access, name: str) -> WebhookSet:
    """Undoes the last remove_set() of this name within a day, as bring_back() does for one. Raises the same."""
    lock_project(session, access.project.id)
    if not name:  # what is in no set, the hub's own webhooks too, was not deleted together
        raise NotFoundError
    ours = select(Webhook).where(Webhook.project_id == access.project.id, Webhook.kind == "event")
    deleted = ours.where(Webhook.set_name == name)
    rows = session.scalars(
        deleted.where(Webhook.deleted_on > access.now - UNDONE).order_by(Webhook.position, Webhook.id)
    ).all()
    last = max((row.deleted_on for row in rows if row.deleted_on), default=None)
    found = [row for row in rows if row.deleted_on == last]
    if not found:
        raise NotFoundError
    put_back_deleted(session, access, found)
    return WebhookSet(name, found)


def rename_set(session: Session, access: Access, found: WebhookSet, name: str) -> None:
    """Raises SpecError for a name that is empty, too long or taken."""
    lock_project(session, access.project.id)  # else two sets could get one name
    name = name.strip()
    errors = check_set_name(name) if name else [wrong_at("set", "This is empty.")]
    if name != found.name and any(each.name == name for each in sets_of(session, access)):
        errors.append(wrong_at("set", "Another set of this project has this name."))
    if errors:
        raise SpecError(errors)
    for row in found.webhooks:
        row.set_name = name
    if set_with_address(session, access) == found.name:
        session.get_one(DialAddress, access.project.id).set_name = name
    note(session, access, "webhook set renamed", found.name, {"set": found.name}, {"set": name})


def warnings_of(rows: Iterable[Webhook]) -> dict[int, list[FieldError]]:
    """Of each webhook that names another one which is deleted or off: id -> what it names. rows: the whole project."""
    rows = list(rows)
    is_on = {row.name: row.enabled for row in rows}
    found = {row.id: list(loose_ends(row.spec, is_on)) for row in rows if row.enabled}
    return {row_id: errors for row_id, errors in found.items() if errors}
