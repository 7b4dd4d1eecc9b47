"""Removes for good what deliveries and calls contain. Their trace stays: when, which webhook, how it ended, and who has
removed it.

A delivery that is still to be sent keeps its content, and so does everything of its call, and of one that is going on:
what is sent next is made of it. All of this locks as publish and record do: calls in the order of PBXs and linkedids,
then deliveries by id. tests/test_work_beside_locked_rows.py
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, delete, exists, or_, select, update
from sqlalchemy.orm import Session, aliased, defer

from pbxhub.delivery.outbox.own_webhooks import CALLBACK
from pbxhub.store.api import KeptAnswer
from pbxhub.store.bulk import Query
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, FAILED, PENDING, WAITING, Attempt, Delivery
from pbxhub.store.events import EventRow
from pbxhub.store.history import Call, CallEvents, StageEvent
from pbxhub.store.ordered_calls import FINAL, OrderedCall
from pbxhub.store.questions import Question
from pbxhub.store.resends import BeforeResend
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook

_QUIETLY = {"synchronize_session": False}
_OTHER = aliased(Delivery)
_TO_COME = _OTHER.state.in_((PENDING, WAITING))
_GOES_ON = or_(
    exists().where(Call.id == Delivery.call_id, Call.ended_on.is_(None)),
    exists().where(_OTHER.call_id == Delivery.call_id, _TO_COME),
)
HAS_CONTENT = (Delivery.content_removed_on.is_(None), Delivery.state.in_((DELIVERED, FAILED, CANCELLED)), ~_GOES_ON)
"""Conditions on deliveries whose content can be removed."""
STAYS = and_(Delivery.content_removed_on.is_(None), or_(Delivery.state.in_((PENDING, WAITING)), _GOES_ON))
"""A condition on the others that have content."""
CALL_HAS_CONTENT: tuple[ColumnElement[bool], ...] = (
    Call.content_removed_on.is_(None), Call.ended_on.is_not(None), ~exists().where(_OTHER.call_id == Call.id, _TO_COME)
)  # fmt: skip
"""The same for calls."""
CALL_STAYS = and_(
    Call.content_removed_on.is_(None), or_(Call.ended_on.is_(None), exists().where(_OTHER.call_id == Call.id, _TO_COME))
)
"""A condition on the others that have content."""
_REMOVED = Query(
    select(Delivery.id)
    .outerjoin(Call, Call.id == Delivery.call_id)
    .where(
        one_of(Delivery.id, "ids"), or_(Delivery.content_removed_on.is_not(None), Call.content_removed_on.is_not(None))
    )
)
_TOLD: Mapping[str, object] = {
    "name": "",
    "custom": {},
    "transcript": None,
    "analysis": None,
    "callback_url": "",
    "callback_headers": {},
    "callback_params": {},
}
_PAGE = 200
_AN_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def without_content(session: Session, ids: Collection[UUID]) -> set[UUID]:
    """Which of these deliveries, or of what calls, the content was removed."""
    if not ids:
        return set()
    return {row.id for row in _REMOVED.all(session, ids=list(ids))}


def remove_of_deliveries(session: Session, project_id: int, ids: Collection[UUID], who: str, now: datetime) -> int:
    """Requests, answers and the values in them, of deliveries of the project; and what their calls keep of the answers.
    Returns how many."""
    which = (one_of(Delivery.id, ids), Delivery.project_id == project_id)
    _lock_calls(session, Call.id.in_(select(Delivery.call_id).where(*which)))
    wanted = select(Delivery).where(*which, *HAS_CONTENT)
    unread = defer(Delivery.body), defer(Delivery.headers)
    rows = session.scalars(wanted.options(*unread).order_by(Delivery.id).with_for_update(of=Delivery)).all()
    if not rows:
        return 0
    for row in rows:
        row.url, row.headers, row.body, row.files, row.message = _origin(row.url), [], b"", [], ""
        row.content_removed_on, row.content_removed_by = now, who
    session.flush()
    found = [row.id for row in rows]
    empty = {"request_headers": [], "response_headers": [], "response_body": b"", "message": ""}
    _update(session, Attempt, one_of(Attempt.delivery_id, found), empty)
    _update(session, Question, one_of(Question.delivery_id, found), {"steps": []})
    _update(session, Call, one_of(Call.id, {row.call_id for row in rows if row.call_id}), {"answers": {}})
    session.execute(delete(BeforeResend).where(one_of(BeforeResend.delivery_id, found)), execution_options=_QUIETLY)
    return len(found)


def remove_of_calls(session: Session, project_id: int, ids: Collection[UUID], who: str, now: datetime) -> int:
    """The values and the AMI events of calls of the project, the values of their stages, and what programs have sent
    about them. Numbers, times and how they ended stay. Returns how many calls."""
    rows = _lock_calls(session, one_of(Call.id, ids), Call.project_id == project_id, *CALL_HAS_CONTENT)
    if not rows:
        return 0
    found = [row.id for row in rows]
    removed = {"content_removed_on": now}
    values = {"data": {}, "answers": {}, "caller_name": "", "recorded": False, "content_removed_by": who}
    _update(session, Call, one_of(Call.id, found), {**values, **removed})
    _update(session, StageEvent, one_of(StageEvent.call_id, found), {"data": {}, **removed})
    _update(session, OrderedCall, one_of(OrderedCall.call_id, found), _TOLD)
    session.execute(delete(EventRow).where(one_of(EventRow.call_id, found)), execution_options=_QUIETLY)
    for row in rows:  # one by one: the index is of both columns
        of_call = (CallEvents.pbx_id == row.pbx_id, CallEvents.linkedid == row.linkedid)
        session.execute(delete(CallEvents).where(*of_call), execution_options=_QUIETLY)
    return len(found)


def orders_without_call(project_id: int, numbers: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    """Conditions on ordered calls to these numbers that ended before they began, and say anything."""
    of_project = (OrderedCall.project_id == project_id, OrderedCall.call_id.is_(None), OrderedCall.status.in_(FINAL))
    free = [OrderedCall.custom, OrderedCall.callback_headers, OrderedCall.callback_params]
    said = or_(OrderedCall.name != "", OrderedCall.callback_url != "", *(cast(one, Text) != "{}" for one in free))
    return *of_project, one_of(OrderedCall.mobile_number, numbers), said


def callbacks_without_call(project_id: int, numbers: Collection[str]) -> ColumnElement[bool]:
    """A condition on deliveries: the callbacks of ordered calls to these numbers that never began."""
    hooks = select(Webhook.id).where(Webhook.project_id == project_id, Webhook.kind == CALLBACK)
    orders = select(OrderedCall.id).where(
        OrderedCall.project_id == project_id, one_of(OrderedCall.mobile_number, numbers)
    )
    return and_(Delivery.webhook_id.in_(hooks), Delivery.call_id.is_(None), Delivery.sequence_id.in_(orders))


def remove_of_orders(session: Session, which: Sequence[ColumnElement[bool]]) -> None:
    """What programs have sent with these ordered calls. Numbers, times and how they ended stay."""
    _update(session, OrderedCall, and_(*which), _TOLD)


def empty_answers(database: Database, project_id: int, ids: Collection[UUID]) -> None:
    """What the API has answered about these deliveries, calls and orders and keeps for a day, for a program that asks
    again with the same key. All kept answers of the project are read once, _PAGE in a transaction."""
    told, after = {str(one).encode() for one in ids}, ""
    wanted = select(KeptAnswer.key, KeptAnswer.body).where(KeptAnswer.project_id == project_id, KeptAnswer.status != 0)
    while told:
        with database.read() as session:
            page = session.execute(wanted.where(KeptAnswer.key > after).order_by(KeptAnswer.key).limit(_PAGE)).all()
        if not page:
            return
        after = page[-1].key
        if keys := [row.key for row in page if not told.isdisjoint(_AN_ID.findall(row.body))]:
            with database.write() as session:
                these = and_(KeptAnswer.project_id == project_id, one_of(KeptAnswer.key, keys))
                _update(session, KeptAnswer, these, {"body": b"{}"})


def _lock_calls(session: Session, *which: ColumnElement[bool]) -> Sequence[Any]:
    wanted = select(Call.id, Call.pbx_id, Call.linkedid).where(*which)
    return session.execute(wanted.order_by(Call.pbx_id, Call.linkedid).with_for_update(of=Call, key_share=True)).all()


def _update(session: Session, table: type, which: ColumnElement[bool], values: Mapping[str, object]) -> None:
    session.execute(update(table).where(which).values(values), execution_options=_QUIETLY)


def _origin(url: str) -> str:
    """Scheme and host: path and query may contain values."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.scheme else ""
