"""Moves recorded deliveries to their next state: only those whose lease is still the worker's."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox.attempt_result import AttemptResult, Finished
from pbxhub.storable import clip
from pbxhub.store.bulk import Query, Update
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import IS_FIRST, PENDING, RETRIES, Delivery
from pbxhub.store.session import Base

_MOVE_ON = Update(
    Base.metadata.tables["delivery"],
    ("id",),
    (
        "state", "lane", "due_at", "claim_token", "tries", "outcome", "message", "status_code", "duration_ms",
        "finished_on",
    ),
)  # fmt: skip
_ARE_THESE = one_of(Delivery.id, "ids")
_LEASES = select(Delivery.id, Delivery.claim_token).order_by(Delivery.id).with_for_update(key_share=True)
_OWNED = Query(_LEASES.where(_ARE_THESE))
_OWNED_AND_AHEAD = Query(_LEASES.where(_ARE_THESE | one_of(Delivery.sequence_id, "sequence_ids") & text(IS_FIRST)))


def lock_owned(session: Session, finished: Sequence[Finished]) -> set[tuple[UUID, UUID | None]]:
    """Locks the deliveries and returns each with the token it has now. One that another worker has claimed since has
    that worker's token; one that this worker has claimed a second time has the later one.

    Everybody locks deliveries in the order of their ids, or two workers would wait for each other. So the rows that the
    next webhook of a chain, or one that waits for this answer, may be behind (hold_back, hold_resent) are locked by the
    same statement.
    """
    ids = [one.claimed.id for one in finished]
    sequence_ids = {one.claimed.sequence_id for one in finished if one.claimed.webhook.leads_on} - {None}
    if not sequence_ids:
        return set(_OWNED.all(session, ids=ids))
    return set(_OWNED_AND_AHEAD.all(session, ids=ids, sequence_ids=list(sequence_ids)))


def move_on(session: Session, results: Iterable[AttemptResult]) -> None:
    """Writes the new states and ends the leases."""
    _MOVE_ON.run(session, [_delivery_row(result) for result in results])


def _delivery_row(result: AttemptResult) -> dict[str, Any]:
    claimed, answer = result.finished.claimed, result.finished.answer
    pending, tried = result.state == PENDING, result.is_try
    return {
        "id": claimed.id,
        "state": result.state,
        "lane": max(claimed.lane, RETRIES) if pending and tried else claimed.lane,
        "due_at": result.due_at,
        "claim_token": None,
        "tries": claimed.tries + tried,
        "outcome": result.reading.code
        if tried
        else claimed.outcome,  # the first attempt is still to come, and later stages wait for it
        "message": clip(result.reading.sentence, 1000),
        "status_code": answer.status_code,
        "duration_ms": None if answer.total_us is None else answer.total_us // 1000,
        "finished_on": None if pending else result.finished.finished_on,
    }
