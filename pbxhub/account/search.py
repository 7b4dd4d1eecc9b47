"""One search over a project: calls by a number however it is written, people, numbers, webhooks, ids."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.call_filter import CallFilter
from pbxhub.account.call_history import ended_calls
from pbxhub.account.search_times import SearchTime, read_time
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.store.accounts import Employee, Number, Pbx
from pbxhub.store.connections import Connection, connections_of
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.store.webhooks import Webhook

MOST = 6  # of each kind
_MOST_READ = 5000  # employees, numbers and the newest calls whose names are looked at
LONGEST = 150

RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class Found:
    """What a text leads to, MOST of each kind; the newest calls first. time: what it says about the time of calls."""

    time: SearchTime | None = None
    calls: Sequence[Call] = ()
    deliveries: Sequence[Delivery] = ()
    employees: Sequence[Employee] = ()
    numbers: Sequence[Number] = ()
    webhooks: Sequence[Webhook] = ()
    connections: Sequence[Connection] = ()
    pbxs: Sequence[Pbx] = ()

    @property
    def nothing(self) -> bool:
        return not any((self.calls, self.deliveries, self.employees, self.numbers, self.webhooks, self.connections,
                        self.pbxs))  # fmt: skip


def search(session: Session, access: Access, text: str, now: datetime) -> Found:
    """What the text leads to: a number, a name, an e-mail address, a department, a label, an id, a time of calls, alone
    or after a number or name. "" finds nothing."""
    wanted = text.strip()[:LONGEST]
    if not wanted:
        return Found()
    if (exact := _read_id(wanted)) is not None:
        return _by_id(session, access, exact)
    time = read_time(wanted, now.astimezone(access.zone))
    calls = _calls(session, access, wanted if time is None else time.rest, time)
    wanted = (time and time.rest) or wanted  # "today" may also be the word of a name
    project = access.project.id
    people = select(Employee).where(Employee.project_id == project).order_by(Employee.extension).limit(_MOST_READ)
    numbers = select(Number).where(Number.project_id == project).order_by(Number.did).limit(_MOST_READ)
    pbxs = select(Pbx).where(Pbx.project_id == project).order_by(Pbx.id)
    return Found(
        time=time,
        calls=calls,
        employees=_matching(
            session.scalars(people), wanted, lambda one: (one.name, one.extension, one.email, one.department)
        ),
        numbers=_matching(session.scalars(numbers), wanted, lambda one: (one.label, one.did)),
        webhooks=_matching(live_webhooks(session, access), wanted, lambda one: (one.name,)),
        connections=_matching(connections_of(session, project), wanted, lambda one: (one.name,)),
        pbxs=_matching(session.scalars(pbxs), wanted, lambda one: (one.name, one.host)),
    )


def _calls(session: Session, access: Access, text: str, time: SearchTime | None) -> Sequence[Call]:
    """By number, extension or linkedid, or by the time alone; a text without digits is the name of a caller, looked for
    in the newest calls: no index serves names."""
    wanted = _when(time)
    if not text or any(letter.isdigit() for letter in text):
        return ended_calls(session, access, replace(wanted, number=text), None, MOST)
    newest = select(Call.id, Call.caller_name).where(*wanted.conditions(session, access), Call.caller_name != "")
    rows = session.execute(newest.order_by(Call.started_on.desc()).limit(_MOST_READ))
    ids = [row.id for row in _matching(rows, text, lambda row: (row.caller_name,))]
    return session.scalars(select(Call).where(Call.id.in_(ids)).order_by(Call.started_on.desc())).all() if ids else ()


def _when(time: SearchTime | None) -> CallFilter:
    if time is None:
        return CallFilter()
    return CallFilter(result="missed" if time.missed else "", since=time.since, until=time.until)


def _matching(rows: Iterable[RowT], text: str, texts_of: Callable[[RowT], Iterable[str]]) -> list[RowT]:
    """Rows of which one text contains the wanted one, in any case; digits are compared without what separates them."""
    wanted, digits = text.casefold(), _digits(text)
    found = []
    for row in rows:
        texts = [each.casefold() for each in texts_of(row) if each]
        if any(wanted in each or (digits and digits in _digits(each)) for each in texts):
            found.append(row)
            if len(found) == MOST:
                break
    return found


def _digits(text: str) -> str:
    """The digits of a text that has no letters."""
    return "" if any(letter.isalpha() for letter in text) else "".join(filter(str.isdigit, text))


def _read_id(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) >= 32 else None  # fewer digits are a number
    except ValueError:
        return None


def _by_id(session: Session, access: Access, exact: UUID) -> Found:
    """A call by its id or the id it was ordered under, or a delivery."""
    ordered = session.get(OrderedCall, exact)
    call = session.get(Call, ordered.call_id if ordered and ordered.call_id else exact)
    delivery = session.get(Delivery, exact)
    return Found(
        calls=[call] if call and call.project_id == access.project.id else (),
        deliveries=[delivery] if delivery and delivery.project_id == access.project.id else (),
    )
