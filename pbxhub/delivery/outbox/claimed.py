"""What a claim hands to a worker."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pbxhub.delivery.webhook_cache import LiveWebhook
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
