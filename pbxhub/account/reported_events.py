"""What other systems report: things that happened and are no calls, and what they know of a visitor."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.refusals import Refusal
from pbxhub.delivery.attributes import lookup_key, unknown_names
from pbxhub.delivery.outbox import add_to_call, publish_other
from pbxhub.storable import storable
from pbxhub.store.api import Attributes
from pbxhub.store.events import NewEvent, keep
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.translatable import say
from pbxhub.webhooks.typed_events import Event, write_event

LONGEST_WINDOW = timedelta(days=31)
_USUAL_WINDOW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Happening:
    """stage: form.sent, dialog.opened …; fields: of it. call_id: of the call it belongs to, None for none. key: the
    sender's id of it, "" for none: reported twice, it happens once."""

    stage: str
    fields: Mapping[str, Any]
    attributes: Mapping[str, str]
    call_id: UUID | None
    key: str


@dataclass(frozen=True, slots=True)
class ReportedEvent:
    """The event that was written, and how many deliveries it made."""

    id: UUID
    deliveries: int


def report(session: Session, access: Access, given: Happening) -> ReportedEvent | list[Refusal]:
    """Publishes it: webhooks of its stage go."""
    refused = _unknown("attributes", given.attributes) + refuse_call(session, access, given.call_id)
    if refused:
        return refused
    values = {**given.attributes, given.stage.partition(".")[0]: given.fields}
    key = given.key or str(new_id())
    event_id, published = publish_other(
        access.hub.context, session, access.project.id, given.call_id, given.stage, key, values, access.now
    )
    return ReportedEvent(event_id, published.deliveries)


def hand_in(session: Session, access: Access, event: Event) -> list[Refusal]:
    """Keeps an event of a known type as it is, and puts it on the call that its call_id names."""
    given = event.body.get("call_id")
    try:
        call_id = UUID(str(given)) if given is not None else None
    except ValueError:
        call_id = new_id()  # of no call
    if refused := refuse_call(session, access, call_id):
        return refused
    body = {name: value for name, value in storable(write_event(event)).items() if name not in ("type", "call_id")}
    keep(session, [NewEvent(access.project.id, event.type, event.created_on, body, call_id)])
    return []


_REMOVED = Refusal(
    "call_id",
    say("The content of this call was removed for good, so nothing is added to it."),
    say("Give the id of another call, or none."),
)


def refuse_call(session: Session, access: Access, call_id: UUID | None) -> list[Refusal]:
    """Why an event cannot belong to this call; nothing for None."""
    call = session.get(Call, call_id) if call_id else None
    if call_id is None:
        return []
    if call is not None and call.project_id == access.project.id:
        return [_REMOVED] if call.content_removed_on else []
    return [Refusal("call_id", say("This is not a call of this project."), say("Give the id of one, or none."))]


@dataclass(frozen=True, slots=True)
class NewAttributes:
    """Attributes (utm_source, client_id …) of a call (call_id), or of calls with a number that begin in a window.

    valid_from: None = now. valid_until: None = a day after valid_from.
    """

    values: Mapping[str, str]
    call_id: UUID | None
    number: str
    valid_from: datetime | None
    valid_until: datetime | None


def attach(session: Session, access: Access, given: NewAttributes) -> Attributes | list[Refusal] | None:
    """Keeps attributes for calls to come; or adds them to a call that is there (None)."""
    number = lookup_key(given.number, access.project.country)
    begins = given.valid_from or access.now
    ends = given.valid_until or begins + _USUAL_WINDOW
    refused = _unknown("values", given.values) + refuse_call(session, access, given.call_id)
    if bool(number) == bool(given.call_id):
        refused.append(Refusal("number", say("Either a number or a call_id is needed."), say("Give one of them.")))
    if not given.call_id and not begins < ends <= begins + LONGEST_WINDOW:
        wrong = say("This is not within %(days)s days after valid_from.", days=LONGEST_WINDOW.days)
        refused.append(Refusal("valid_until", wrong, say("Give a time in that period.")))
    if refused:
        return refused
    if given.call_id:
        add_to_call(session, given.call_id, given.values)
        return None
    row = Attributes(
        id=new_id(), project_id=access.project.id, number=number, valid_from=begins, valid_until=ends,
        values=dict(given.values), created_on=access.now,
    )  # fmt: skip
    session.add(row)
    return row


def _unknown(path: str, names: Mapping[str, str]) -> list[Refusal]:
    return [
        Refusal(
            f"{path}.{name}",
            say("This is not an attribute."),
            say("See /parameters, source API. A name of your own begins with attr., as attr.roistat."),
        )
        for name in unknown_names(names)[:1]
    ]
