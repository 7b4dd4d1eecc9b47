"""Begins the rows of attempts, completes those that have ended, and writes their events."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox.attempt_result import AttemptResult, Finished
from pbxhub.delivery.outbox.claimed import Claimed
from pbxhub.sending.outcomes import LOST
from pbxhub.storable import clip
from pbxhub.store.bulk import Insert, Update
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import Attempt
from pbxhub.store.events import NewEvent, keep
from pbxhub.store.session import Base

STORED_BODY = 20_480  # bytes of an answer
_ATTEMPT: Table = Base.metadata.tables["attempt"]
_BEGIN = Insert(
    _ATTEMPT,
    ("delivery_id", "number", "started_on"),
    dict.fromkeys(("outcome", "message", "peer", "tls_version", "response_body"), "''")
    | dict.fromkeys(("request_headers", "response_headers"), "'[]'")
    | {"response_truncated": "false"},
)
_COMPLETE = Update(
    _ATTEMPT,
    ("delivery_id", "number"),
    (
        "finished_on", "outcome", "message", "status_code", "dns_us", "connect_us", "tls_us", "first_byte_us",
        "total_us", "peer", "tls_version", "request_headers", "response_headers", "response_body", "response_truncated",
    ),
)  # fmt: skip


def begin_attempts(session: Session, claimed: Iterable[Claimed]) -> None:
    """Writes the attempts of a claim, before their requests leave."""
    _BEGIN.run(
        session,
        [{"delivery_id": one.id, "number": one.attempt, "started_on": one.started_on} for one in claimed],
    )


def write_attempts(session: Session, results: Sequence[AttemptResult]) -> None:
    """Each attempt as it ended, and one webhook_called event for each request that left.

    A commit whose answer was lost is followed by the same recording. The order of events: 1. the worker commits, and
    the connection breaks before it hears so; 2. it records the same attempts again: their leases are gone by then, and
    their rows stand as these ended, so no second event is written. One that was given up (lost_attempts.py) has its
    event from who still held it. tests/test_claim_and_record.py
    """
    known = _already_written(session, [result.finished for result in results if not result.owned])
    _COMPLETE.run(session, [attempt_row(result) for result in results if result.reading.code != LOST])  # a lost one is
    called = [result for result in results if result.was_sent and _attempt_of(result.finished) not in known]
    keep(session, [_called(result) for result in called if result.owned or result.reading.code != LOST])


def _attempt_of(finished: Finished) -> tuple[UUID, int]:
    return finished.claimed.id, finished.claimed.attempt


def _already_written(session: Session, finished: Sequence[Finished]) -> set[tuple[UUID, int]]:
    """The attempts whose rows stand as these ended."""
    if not finished:
        return set()
    ends = {_attempt_of(one): one.finished_on for one in finished}
    known = select(Attempt.delivery_id, Attempt.number, Attempt.finished_on).where(
        one_of(Attempt.delivery_id, {one.claimed.id for one in finished}), Attempt.outcome.not_in(("", LOST))
    )
    return {(row.delivery_id, row.number) for row in session.execute(known) if ends.get(row[:2]) == row.finished_on}


def _called(result: AttemptResult) -> NewEvent:
    """Which attempt it was; what left and what came back is read from the attempt."""
    claimed = result.finished.claimed
    which = {"delivery_id": str(claimed.id), "attempt": claimed.attempt}
    return NewEvent(claimed.project_id, "webhook_called", result.finished.finished_on, which, claimed.call_id)


def attempt_row(result: AttemptResult) -> dict[str, Any]:
    """The columns of the attempt: delivery_id and number name it."""
    answer, one = result.finished.answer, result.finished
    return {
        "delivery_id": one.claimed.id,
        "number": one.claimed.attempt,
        "finished_on": one.finished_on,
        "outcome": result.reading.code,
        "message": clip(result.reading.sentence, 1000),
        "status_code": answer.status_code,
        "dns_us": answer.dns_us,
        "connect_us": answer.connect_us,
        "tls_us": answer.tls_us,
        "first_byte_us": answer.first_byte_us,
        "total_us": answer.total_us,
        "peer": clip(answer.peer, 60),
        "tls_version": clip(answer.tls_version, 20),
        "request_headers": [list(header) for header in one.headers],
        "response_headers": [[clip(name, 200), clip(value, 8192)] for name, value in answer.headers],
        "response_body": answer.body[:STORED_BODY],
        "response_truncated": answer.truncated or len(answer.body) > STORED_BODY,
    }
