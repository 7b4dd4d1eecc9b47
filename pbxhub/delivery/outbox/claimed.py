"""What a claim hands to a worker."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pbxhub.delivery.open_recordings import FETCH_SECONDS
from pbxhub.delivery.webhook_cache import LiveWebhook
from pbxhub.webhooks.attached import load_files
from pbxhub.webhooks.request import Request


@dataclass(frozen=True, slots=True)
class Claimed:
    """One delivery that only this worker may send, before lease_until.

    attempt: its number, already written. tries: finished attempts since publish or the last resend.
    outcome: of the attempt before, "" at the first. request: as stored, without credentials and signature.
    """

    id: UUID
    project_id: int
    stage_event_id: UUID | None
    call_id: UUID | None
    sequence_id: UUID | None
    kind: str
    lane: int
    attempt: int
    tries: int
    outcome: str
    token: UUID
    started_on: datetime
    lease_until: datetime
    created_on: datetime
    request: Request
    webhook: LiveWebhook


def as_claimed(
    row: Any, request: Request, webhook: LiveWebhook, token: UUID, now: datetime, until: datetime
) -> Claimed:
    """row: of the delivery, or a NewDelivery."""
    return Claimed(
        row.id, row.project_id, row.stage_event_id, row.call_id, row.sequence_id, row.kind, row.lane, row.attempts,
        row.tries, row.outcome, token, now, until, row.created_on, request, webhook,
    )  # fmt: skip


def request_of(row: Any) -> Request:
    """The request that a delivery was rendered to."""
    headers = tuple((name, value) for name, value in row.headers)
    return Request(row.method, row.url, headers, row.body, load_files(row.files) if row.files else ())


def longest_attempt(webhook: LiveWebhook, has_files: bool) -> float:
    """Seconds that a request may take, from its claim to its end. A recording may have to be fetched from the PBX
    first."""
    return webhook.spec.limits.deadline + (FETCH_SECONDS if has_files else 0.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of a claim. next_due: claim again then at the latest; None while nothing is scheduled.

    given_up: lost by too many workers in a row. They are leased to this worker, to be recorded as failed, not sent.
    more: due deliveries may be left, for want of room or because the batch is full: claim again at the next turn.
    """

    claimed: tuple[Claimed, ...]
    next_due: datetime | None
    more: bool
    given_up: tuple[Claimed, ...] = ()
