"""Questions that were written before their call: a call between extensions is written when it is over.

Whichever comes later links the two: the call as it is written, or whoever writes the question.
"""

from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.orm import Session

from pbxhub.delivery.call_rows import CallNow
from pbxhub.store.bulk import Query
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.questions import Question

_IS_UNLINKED = text("question.linkedid <> ''")  # as the partial index has it
_QUIETLY = {"synchronize_session": False}
_UNLINKED = Query(
    select(Question.delivery_id, Question.linkedid).where(
        Question.pbx_id == bindparam("pbx_id"), one_of(Question.linkedid, "linkedids"),
        _IS_UNLINKED,
    )
)  # fmt: skip


def link_new(session: Session, pbx_id: int, calls: Iterable[CallNow]) -> None:
    """Gives questions the calls that have just been written, in the transaction that writes these."""
    _link(session, pbx_id, {call.linkedid: call.id for call in calls if call.is_new and call.changed})


def link_question(session: Session, pbx_id: int, linkedid: str) -> None:
    """Gives the questions of this call its id, when it is there."""
    call_id = session.scalar(select(Call.id).where(Call.pbx_id == pbx_id, Call.linkedid == linkedid))
    if call_id is not None:
        _link(session, pbx_id, {linkedid: call_id})


def _link(session: Session, pbx_id: int, ids: Mapping[str, UUID]) -> None:
    for question in _UNLINKED.all(session, pbx_id=pbx_id, linkedids=sorted(ids)) if ids else ():
        of, call_id = question.delivery_id, ids[question.linkedid]
        session.execute(update(Delivery).where(Delivery.id == of).values(call_id=call_id), execution_options=_QUIETLY)
        done = update(Question).where(Question.delivery_id == of).values(linkedid="", pbx_id=None)
        session.execute(done, execution_options=_QUIETLY)
