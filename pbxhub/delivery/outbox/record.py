"""Writes how attempts ended, in groups, and decides what becomes of their deliveries."""

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Table, select, text
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.attempt_result import Finished, Result
from pbxhub.delivery.outbox.chain import publish_next, save_answers
from pbxhub.delivery.outbox.lost_attempts import LOST
from pbxhub.delivery.outbox.pausing import note_health
from pbxhub.delivery.outbox.resthooks import drop_gone
from pbxhub.delivery.outbox.sequence import release_next
from pbxhub.delivery.read_answer import Reading, read
from pbxhub.sending.exchange import Answer
from pbxhub.sending.outcomes import UNREADABLE, may_pass
from pbxhub.storable import clip
from pbxhub.store.bulk import Query, Update
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import DELIVERED, FAILED, PENDING, RETRIES, Attempt, Delivery
from pbxhub.store.events import NewEvent, keep
from pbxhub.store.session import Base
from pbxhub.webhooks.paths_in_json import walk
from pbxhub.webhooks.retry import next_delay
from pbxhub.webhooks.success import read_json

STORED_BODY = 20_480
_UNREADABLE_WAITS, _UNREADABLE_WAITS_MOST = timedelta(minutes=1), timedelta(minutes=10)


def record(
    context: DeliveryContext, session: Session, finished: Sequence[Finished], now: datetime,
    chance: Callable[[], float] = random.random,
) -> list[Result]:  # fmt: skip
    """Completes the attempts and moves the deliveries on, in the caller's transaction.

    A delivery that another worker has claimed meanwhile (the lease had run out) is not touched. Success frees what
    waited for this stage of the call, saves the answer on the call and sends the next webhook of a chain on its way;
    a final failure counts against the webhook, and enough of them pause it.
    """
    if not finished:
        return []
    readings = [read(one.claimed.webhook.spec, one.answer) for one in finished]
    save_answers(session, finished, readings)
    owned = _still_owned(session, finished)
    results = [
        _decide(one, reading, (one.claimed.id, one.claimed.token) in owned, now, chance())
        for one, reading in zip(finished, readings, strict=True)
    ]
    told = _told_already(session, [result.finished for result in results if not result.owned])
    _COMPLETE.run(session, [attempt_row(result) for result in results if result.reading.code != LOST])  # that has been
    called = [result for result in results if result.reading.code != UNREADABLE]
    keep(session, [_called(result) for result in called if _attempt_of(result.finished) not in told])
    ours = [result for result in results if result.owned]
    if ours:
        _MOVE_ON.run(session, map(_delivery_row, ours))
        released = release_next(session, _first_attempts(ours), now)
        publish_next(context, session, ours, now)
        note_health(session, ours, context.pause_rule, now)
        drop_gone(
            session, {result.finished.claimed.webhook.id for result in ours if result.reading.code == "gone"}, now
        )
        if released:
            context.wakeups.send(session)
    return results


def _attempt_of(finished: Finished) -> tuple[UUID, int]:
    return finished.claimed.id, finished.claimed.attempt


def _told_already(session: Session, finished: Sequence[Finished]) -> set[tuple[UUID, int]]:
    """The attempts that stand as these ended: a commit whose answer was lost is followed by the same recording."""
    if not finished:
        return set()
    ends = {_attempt_of(one): one.finished_on for one in finished}
    known = select(Attempt.delivery_id, Attempt.number, Attempt.finished_on).where(
        one_of(Attempt.delivery_id, {one.claimed.id for one in finished})
    )
    return {(row.delivery_id, row.number) for row in session.execute(known) if ends.get(row[:2]) == row.finished_on}


def _called(result: Result) -> NewEvent:
    """Which attempt it was; what left and what came back is read from the attempt."""
    claimed = result.finished.claimed
    which = {"delivery_id": str(claimed.id), "attempt": claimed.attempt}
    return NewEvent(claimed.project_id, "webhook_called", result.finished.finished_on, which, claimed.call_id)


_ARE_THESE = one_of(Delivery.id, "ids")
_LEASES = select(Delivery.id, Delivery.claim_token).order_by(Delivery.id).with_for_update(key_share=True)
_OWNED = Query(_LEASES.where(_ARE_THESE))
_OWNED_AND_AHEAD = Query(
    _LEASES.where(
        _ARE_THESE
        | one_of(Delivery.sequence_id, "sequence_ids")
        & text("delivery.state = 'pending' AND delivery.outcome = ''")  # as the partial index has it
    )
)


def _still_owned(session: Session, finished: Sequence[Finished]) -> set[tuple[UUID, UUID | None]]:
    """Deliveries with the lease they have now, locked. A worker may hold two leases of one: the later one counts.

    The next webhook of a chain may have to wait for others of its sequence (hold_back): these are locked here, too, by
    the same statement. Everybody locks deliveries in the order of their ids, or two would wait for each other.
    """
    ids = [one.claimed.id for one in finished]
    sequence_ids = {one.claimed.sequence_id for one in finished if _has_next(one)} - {None}
    if not sequence_ids:
        return set(_OWNED.all(session, ids=ids))
    return set(_OWNED_AND_AHEAD.all(session, ids=ids, sequence_ids=list(sequence_ids)))


def _has_next(one: Finished) -> bool:
    spec = one.claimed.webhook.spec
    return bool(spec.on_success or spec.on_failure)


def _decide(one: Finished, reading: Reading, owned: bool, now: datetime, chance: float) -> Result:
    if reading.ok:
        return Result(one, reading, DELIVERED, now, owned)
    if reading.code == UNREADABLE:  # nobody was asked: it costs no try, and waits until somebody repairs the secret
        wait = min(_UNREADABLE_WAITS * 2 ** min(one.claimed.attempt - 1, 10), _UNREADABLE_WAITS_MOST)
        return Result(one, reading, PENDING, now + wait, owned)
    delay = next_delay(
        one.claimed.webhook.spec.retry,
        one.claimed.tries + 1,
        one.answer.outcome != LOST and may_pass(reading.code, one.answer.status_code),
        chance,
        retry_after(one.answer, now),
    )
    if delay is None:
        return Result(one, reading, FAILED, now, owned)
    return Result(one, reading, PENDING, now + timedelta(seconds=delay), owned)


def retry_after(answer: Answer, now: datetime) -> float | None:
    """Seconds the receiver asks to wait: in a Retry-After header, as a number or a date, or beside a 429 in the body
    as Telegram does. None without a readable one."""
    for name, value in answer.headers:
        if name.lower() == "retry-after":
            return _wait(value.strip(), now)
    return _wait_in_body(answer.body) if answer.status_code == 429 else None


def _wait(text: str, now: datetime) -> float | None:
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def _wait_in_body(body: bytes) -> float | None:
    seconds = walk(read_json(body), ("parameters", "retry_after"))
    return float(seconds) if type(seconds) is int and 0 <= seconds < 1_000_000_000 else None


def _first_attempts(results: Iterable[Result]) -> list[Any]:
    return [
        (result.finished.claimed.webhook.id, result.finished.claimed.sequence_id)
        for result in results
        if not result.finished.claimed.outcome and result.reading.code != UNREADABLE
    ]


_ATTEMPT: Table = Base.metadata.tables["attempt"]
_DELIVERY: Table = Base.metadata.tables["delivery"]
_COMPLETE = Update(
    _ATTEMPT,
    ("delivery_id", "number"),
    (
        "finished_on", "outcome", "message", "status_code", "dns_us", "connect_us", "tls_us", "first_byte_us",
        "total_us", "peer", "tls_version", "request_headers", "response_headers", "response_body", "response_truncated",
    ),
)  # fmt: skip
_MOVE_ON = Update(
    _DELIVERY,
    ("id",),
    (
        "state", "lane", "due_at", "claim_token", "tries", "outcome", "message", "status_code", "duration_ms",
        "finished_on",
    ),
)  # fmt: skip


def attempt_row(result: Result) -> dict[str, Any]:
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


def _delivery_row(result: Result) -> dict[str, Any]:
    claimed, answer = result.finished.claimed, result.finished.answer
    pending, sent = result.state == PENDING, result.reading.code != UNREADABLE
    return {
        "id": claimed.id,
        "state": result.state,
        "lane": max(claimed.lane, RETRIES) if pending and sent else claimed.lane,
        "due_at": result.due_at,
        "claim_token": None,
        "tries": claimed.tries + sent,
        "outcome": result.reading.code if sent else claimed.outcome,  # what waits for its first attempt goes on waiting
        "message": clip(result.reading.sentence, 1000),
        "status_code": answer.status_code,
        "duration_ms": None if answer.total_us is None else answer.total_us // 1000,
        "finished_on": None if pending else result.finished.finished_on,
    }
