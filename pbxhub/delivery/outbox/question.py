"""Writes what a waiting call asked, once it is answered: a finished delivery that never was in the queue.

It stands with all others on the error page, in the list and on the card of the call, but is never sent again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session

from pbxhub.delivery.context import PauseRule
from pbxhub.delivery.outbox.attempt_result import Finished, Result
from pbxhub.delivery.outbox.chain import save_answers
from pbxhub.delivery.outbox.pausing import note_health
from pbxhub.delivery.outbox.record import attempt_row
from pbxhub.delivery.read_answer import Reading
from pbxhub.delivery.storable import clip, storable
from pbxhub.store.delivery_rows import DELIVERED, FAILED, Attempt, Delivery
from pbxhub.store.questions import KIND, Question

_NEVER_FOR_FAILURES = PauseRule(failures=0)  # a call waits: better a question in vain than a caller sent away unasked


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a call's plan. result: what Asterisk said of it, "" while it was not done."""

    step: str
    result: str = ""


def record_question(
    session: Session, finished: Finished, reading: Reading, line: int, steps: Sequence[Step], now: datetime,
    pbx_id: int, linkedid: str,
) -> None:  # fmt: skip
    """Writes delivery, attempt, what the answer gives to later webhooks, and what the call was told to do.

    A request that could not be put together has no attempt. pbx_id, linkedid: the call, for which the question waits
    when it is not written yet.
    """
    claimed, answer = finished.claimed, finished.answer
    result = Result(finished, reading, DELIVERED if reading.ok else FAILED, now, True)
    sent = bool(claimed.request.method)
    session.add(
        Delivery(
            id=claimed.id, project_id=claimed.project_id, webhook_id=claimed.webhook.id,
            webhook_revision=claimed.webhook.revision, stage_event_id=None, call_id=claimed.call_id, kind=KIND,
            state=result.state, lane=claimed.lane, due_at=claimed.started_on, attempts=int(sent), tries=int(sent),
            method=claimed.request.method, url=claimed.request.url, body=claimed.request.body,
            headers=[list(header) for header in claimed.request.headers], outcome=reading.code,
            message=clip(reading.sentence, 1000), status_code=answer.status_code,
            duration_ms=None if answer.total_us is None else answer.total_us // 1000,
            created_on=claimed.created_on, finished_on=finished.finished_on,
        )
    )  # fmt: skip
    session.flush()
    if sent:
        session.add(Attempt(started_on=claimed.started_on, **attempt_row(result)))
    question = Question(delivery_id=claimed.id, line=line, steps=_rows(steps))
    if claimed.call_id is None:
        question.pbx_id, question.linkedid = pbx_id, clip(linkedid, 200)
    session.add(question)
    save_answers(session, [finished], [reading])
    note_health(session, [result], _NEVER_FOR_FAILURES, now)


def record_steps(session: Session, delivery_id: UUID, line: int, steps: Sequence[Step]) -> None:
    """Writes what was done with the call in the end."""
    session.execute(update(Question).where(Question.delivery_id == delivery_id).values(line=line, steps=_rows(steps)))


def _rows(steps: Sequence[Step]) -> list[dict[str, str]]:
    return [{"step": storable(one.step), "result": storable(one.result)} for one in steps]
