"""Removes for good what deliveries and calls contain. Their trace stays: when, which webhook, how it ended, and who has
removed it.

A delivery that is still to be sent keeps its content, and so does everything of a call that is going on: what is sent
next is made of it.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select, update
from sqlalchemy.orm import Session, defer

from pbxhub.store.api import KeptAnswer
from pbxhub.store.call_events import CallEvents
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, FAILED, PENDING, WAITING, Attempt, Delivery
from pbxhub.store.events import EventRow
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.store.questions import Question
from pbxhub.store.resends import BeforeResend

_QUIETLY = {"synchronize_session": False}
_GOES_ON = exists().where(Call.id == Delivery.call_id, Call.ended_on.is_(None))
HAS_CONTENT = (Delivery.content_removed_on.is_(None), Delivery.state.in_((DELIVERED, FAILED, CANCELLED)), ~_GOES_ON)
"""Conditions on deliveries whose content can be removed."""
STAYS = and_(Delivery.content_removed_on.is_(None), or_(Delivery.state.in_((PENDING, WAITING)), _GOES_ON))
"""A condition on the others that have content."""
_TO_BE_SENT = exists().where(Delivery.call_id == Call.id, Delivery.state.in_((PENDING, WAITING)))
CALL_HAS_CONTENT: tuple[ColumnElement[bool], ...] = (
    Call.content_removed_on.is_(None), Call.ended_on.is_not(None), ~_TO_BE_SENT
)  # fmt: skip
"""The same for calls."""


def remove_of_deliveries(session: Session, project_id: int, ids: Collection[UUID], who: str, now: datetime) -> int:
    """Requests, answers and the values in them, of deliveries of the project; and what their calls keep of the answers.
    Returns how many."""
    wanted = select(Delivery).where(one_of(Delivery.id, ids), Delivery.project_id == project_id, *HAS_CONTENT)
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
    _empty_answers(session, project_id, found)
    return len(found)


def remove_of_calls(session: Session, project_id: int, ids: Collection[UUID], who: str, now: datetime) -> int:
    """The values and the AMI events of calls of the project, the values of their stages, and what programs have sent
    about them. Numbers, times and how they ended stay. Returns how many calls."""
    wanted = select(Call.id, Call.pbx_id, Call.linkedid).where(one_of(Call.id, ids), Call.project_id == project_id)
    rows = session.execute(wanted.where(*CALL_HAS_CONTENT).order_by(Call.id).with_for_update(of=Call)).all()
    if not rows:
        return 0
    found = [row.id for row in rows]
    removed = {"content_removed_on": now}
    values = {"data": {}, "answers": {}, "caller_name": "", "recorded": False, "content_removed_by": who}
    _update(session, Call, one_of(Call.id, found), {**values, **removed})
    _update(session, StageEvent, one_of(StageEvent.call_id, found), {"data": {}, **removed})
    told: Mapping[str, object] = {
        "name": "",
        "custom": {},
        "transcript": None,
        "analysis": None,
        "callback_headers": {},
        "callback_params": {},
    }
    _update(session, OrderedCall, one_of(OrderedCall.call_id, found), told)
    session.execute(delete(EventRow).where(one_of(EventRow.call_id, found)), execution_options=_QUIETLY)
    for row in rows:  # one by one: the index is of both columns
        of_call = (CallEvents.pbx_id == row.pbx_id, CallEvents.linkedid == row.linkedid)
        session.execute(delete(CallEvents).where(*of_call), execution_options=_QUIETLY)
    _empty_answers(session, project_id, found)
    return len(found)


def _empty_answers(session: Session, project_id: int, ids: Collection[UUID]) -> None:
    """What the API has answered about them and keeps for a day, for a program that asks again with the same key."""
    told = [str(one).encode() for one in ids]
    for kept in session.scalars(select(KeptAnswer).where(KeptAnswer.project_id == project_id)):
        if any(one in kept.body for one in told):
            kept.body = b"{}"


def _update(session: Session, table: type, which: ColumnElement[bool], values: Mapping[str, object]) -> None:
    session.execute(update(table).where(which).values(values), execution_options=_QUIETLY)


def _origin(url: str) -> str:
    """Scheme and host: path and query may contain values."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.scheme else ""
