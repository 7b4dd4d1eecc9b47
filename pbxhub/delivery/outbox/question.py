"""Writes the question of a waiting call once it is answered: a finished delivery that never was in the queue.

Pages show it like any other delivery, but it is never sent again.

The order of events: a call between extensions is written when it is over, so a question may be written before its call.
Whichever comes later links the two: the call as it is written (link_new), or whoever has written the question and finds
the call there by then (link_question). tests/test_answer_asterisk.py
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from pbxhub.delivery.call_rows import CallNow
from pbxhub.delivery.context import DeliveryContext, PauseRule
from pbxhub.delivery.outbox.attempt_result import AttemptResult, Finished
from pbxhub.delivery.outbox.chain import save_answers
from pbxhub.delivery.outbox.ended_tokens import end_tokens, with_ended_token
from pbxhub.delivery.outbox.pausing import note_health
from pbxhub.delivery.outbox.write_attempts import attempt_row
from pbxhub.delivery.read_answer import Reading
from pbxhub.storable import clip, storable
from pbxhub.store.bulk import Query
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import DELIVERED, FAILED, AnsweredQuestion, Attempt, Delivery, insert_question
from pbxhub.store.history import Call
from pbxhub.store.questions import KIND, Question

_NEVER_FOR_FAILURES = PauseRule(failures=0)  # a caller waits: a failing webhook is still asked


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a call's plan. result: as Asterisk reported it, "" until it is done."""

    step: str
    result: str = ""


def record_question(
    context: DeliveryContext, session: Session, finished: Finished, reading: Reading, line: int, steps: Sequence[Step],
    now: datetime, pbx_id: int, linkedid: str,
) -> None:  # fmt: skip
    """Writes delivery, attempt, the values for later webhooks, and the steps of the call.

    A request that could not be rendered has no attempt. pbx_id, linkedid: of the call, to link the question with it
    when it is written later.
    """
    claimed = finished.claimed
    result = AttemptResult(finished, reading, DELIVERED if reading.ok else FAILED, now, True)
    sent = bool(claimed.request.method)
    insert_question(session, _delivery(result, sent))
    if sent:
        session.add(Attempt(started_on=claimed.started_on, **attempt_row(result)))
    question = Question(delivery_id=claimed.id, line=line, steps=_rows(steps))
    if claimed.call_id is None:
        question.pbx_id, question.linkedid = pbx_id, clip(linkedid, 200)
    session.add(question)
    save_answers(session, [finished], [reading])
    note_health(session, [result], _NEVER_FOR_FAILURES, context.links, now)
    end_tokens(session, [replace(result, reading=with_ended_token(context.vault, finished, reading))], now)


def _delivery(result: AttemptResult, sent: bool) -> AnsweredQuestion:
    claimed, answer, request = result.finished.claimed, result.finished.answer, result.finished.claimed.request
    return AnsweredQuestion(
        claimed.id, claimed.project_id, claimed.webhook.id, claimed.webhook.revision, KIND, claimed.created_on,
        claimed.started_on, call_id=claimed.call_id, lane=claimed.lane, state=result.state, method=request.method,
        url=request.url, headers=request.headers, body=request.body, outcome=result.reading.code,
        message=clip(result.reading.sentence, 1000), finished_on=result.finished.finished_on, attempts=int(sent),
        tries=int(sent), status_code=answer.status_code,
        duration_ms=None if answer.total_us is None else answer.total_us // 1000,
    )  # fmt: skip


def record_steps(session: Session, delivery_id: UUID, line: int, steps: Sequence[Step]) -> None:
    """Writes which steps of the call were done, with their results."""
    session.execute(update(Question).where(Question.delivery_id == delivery_id).values(line=line, steps=_rows(steps)))


def _rows(steps: Sequence[Step]) -> list[dict[str, str]]:
    return [{"step": storable(one.step), "result": storable(one.result)} for one in steps]


_IS_UNLINKED = text("question.linkedid <> ''")  # as the partial index has it
_QUIETLY = {"synchronize_session": False}
_UNLINKED = Query(
    select(Question.delivery_id, Question.pbx_id, Question.linkedid).where(
        one_of(Question.pbx_id, "pbx_ids"), one_of(Question.linkedid, "linkedids"),
        _IS_UNLINKED,
    )
)  # fmt: skip


def link_new(session: Session, calls: Iterable[CallNow]) -> None:
    """Links questions with calls that have just been written, in the transaction that writes them."""
    _link(session, {(call.pbx_id or 0, call.linkedid): call.id for call in calls if call.is_new and call.changed})


def link_question(session: Session, pbx_id: int, linkedid: str) -> None:
    """Links the questions of a call with it, if it has been written."""
    call_id = session.scalar(select(Call.id).where(Call.pbx_id == pbx_id, Call.linkedid == linkedid))
    if call_id is not None:
        _link(session, {(pbx_id, linkedid): call_id})


def _link(session: Session, ids: Mapping[tuple[int, str], UUID]) -> None:
    """ids: of calls, by PBX and linkedid."""
    if not ids:
        return
    pbx_ids, linkedids = sorted({pbx_id for pbx_id, _ in ids}), sorted({linkedid for _, linkedid in ids})
    for question in _UNLINKED.all(session, pbx_ids=pbx_ids, linkedids=linkedids):
        of, call_id = question.delivery_id, ids.get((question.pbx_id, question.linkedid))
        if call_id is None:  # two PBXs may use the same linkedid
            continue
        session.execute(update(Delivery).where(Delivery.id == of).values(call_id=call_id), execution_options=_QUIETLY)
        done = update(Question).where(Question.delivery_id == of).values(linkedid="", pbx_id=None)
        session.execute(done, execution_options=_QUIETLY)
