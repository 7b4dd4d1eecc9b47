"""Deliveries: one webhook for one stage event each, the queue and the history in one table; and their attempts.

The states of a delivery. Only delivery/outbox changes them:

pending    entered by publish, record (a failed attempt with retries left; the next webhook of a chain) and resend.
           Due at due_at. Left by record, by cancel, or by put_back if it was sent before.
delivered  entered by record: an attempt met the success rule. Left only by a resend.
failed     entered by record when no retry is left, or by publish when the request could not be rendered. Left only by
           a resend. On the error page until checked_on is set.
waiting    entered by publish and record: it waits for the answer of another webhook of its call, and has no request
           yet. Left by wait_for_answer when that one has ended; by cancel.
cancelled  entered by cancel: its webhook was disabled or deleted before it was sent; or by publish: a mandatory field
           was empty, and the webhook skips such calls (outcome "skipped"). Left only by a resend.

A pending delivery is in one of these conditions. Each has an exit, whichever process is killed in between:

condition          columns                        entered by               left by
ready              due_at <= now, no claim_token, publish, resend, record  claim
                   not held                       (a retry: due later)
held               held, due_at at most HOLD away hold_back, hold_resent,  release_next, when the attempt of the one
                                                  hold_on                  ahead is recorded; claim, when due_at has
                                                                           passed: hold_on sends it, or holds it again
leased             claim_token; due_at is the end claim; publish, if it    record; the next claim after due_at, as a
                   of the lease                   can be sent at once      lost attempt; release_leases ends it now,
                                                                           WrongLeases if its clock was wrong
given up           leased without a new attempt   claim, after MOST_LOST   record, as failed; a later claim, if that
                                                  lost attempts in a row   worker is lost, too
delayed            due_at is not_before           publish, record (a chain) claim; release_next keeps the time
too many a minute  due_at <= now; next_on of       claim of another one of   claim, when next_on has passed
                   webhook_pace is ahead          its webhook
webhook paused     any; the webhook has paused_on publish, pause           resume; cancel, when the webhook is disabled
                                                                           or deleted
without a token    any; ready_until of the        publish, record (401),   a renewal, when the provider has granted a
                   connection is past             the end of the token     token; a user who connects again
webhook disabled   any                            disable, delete          cancel_pending at once; the next claim, for
or deleted                                                                 rows that were locked at that moment
sent again         tries = 0, and a row in        resend                   record; put_back, when the resend is stopped
                   before_resend                                           or the webhook disabled: the state before
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from pbxhub.store.bulk import Insert
from pbxhub.store.columns import Id, JsonColumn, UtcDateTime, partial_index
from pbxhub.store.session import Base

PENDING, WAITING, DELIVERED, FAILED, CANCELLED = "pending", "waiting", "delivered", "failed", "cancelled"
STATES = (PENDING, WAITING, DELIVERED, FAILED, CANCELLED)
FIRST_ATTEMPTS, RETRIES, BULK = LANES = 1, 2, 3
"""Lanes are separate queues, in the order of urgency: first attempts never wait behind retries or a bulk resend."""

IS_QUEUED = "state || '' = 'pending'"
"""As SQL: it is pending. Of all indexes ix_delivery_soon alone serves it.

There are so few pending deliveries that PostgreSQL takes any index of them for as good as any other. But while somebody
holds a transaction open, one that is read from its beginning has all deliveries that were sent since. So each condition
is written in the way of one index.
"""
IS_PENDING = "state IN ('pending', '')"
"""As SQL: it is pending. No index of pending deliveries serves it: other conditions lead to the few rows."""
IS_FIRST = f"outcome = '' AND {IS_PENDING}"
"""As SQL: its first attempt has not ended. Of all indexes ix_delivery_before alone serves it."""


class Delivery(Base):
    """One webhook for one stage event: the row is the queue."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("stage_event_id", "webhook_id", "kind"),
        # claim: which webhooks have something due, however much waits. + 0 and IS_QUEUED, so that this index and the
        # next one serve their own queries only
        partial_index("ix_delivery_soon", text("(lane + 0)"), "due_at", "webhook_id", where=IS_QUEUED),
        # claim: the first due deliveries of each webhook
        partial_index("ix_delivery_due", "lane", "webhook_id", "due_at", where="state = 'pending'"),
        # what is in flight; the tokens of PostgreSQL begin with the number of their claim
        partial_index("ix_delivery_claimed", "claim_token", "due_at", where="claim_token IS NOT NULL"),
        partial_index("ix_delivery_resend", "resend_id", where="resend_id IS NOT NULL"),
        partial_index("ix_delivery_held", "sequence_id", where="held"),
        # the deliveries that later ones of the same sequence wait for
        partial_index("ix_delivery_before", "sequence_id", where=IS_FIRST),
        partial_index(
            "ix_delivery_unchecked",
            "project_id",
            "id",
            *("webhook_id", "outcome", "status_code", "created_on"),  # they are grouped by, without reading the rows
            where="state = 'failed' AND checked_on IS NULL",
        ),
        # without deliveries that succeeded at once, so that these cost nothing
        partial_index("ix_delivery_reason", "project_id", "outcome", "id", where="outcome <> '' AND outcome <> 'ok'"),
        partial_index(
            "ix_delivery_not_delivered", "project_id", "state", "id", where="state IN ('failed', 'cancelled')"
        ),
        # without the status of most deliveries, so that these cost nothing
        partial_index("ix_delivery_status", "project_id", "status_code", "id", where="status_code <> 200"),
        partial_index("ix_delivery_unanswered", "project_id", "id", where="status_code IS NULL AND outcome <> ''"),
        partial_index("ix_delivery_waiting", "call_id", where="state = 'waiting'"),
        Index("ix_delivery_project", "project_id", "id"),
        Index("ix_delivery_stage", "project_id", "stage", "id"),
        Index("ix_delivery_call", "call_id"),
        Index("ix_delivery_webhook", "webhook_id", "id"),
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"))
    webhook_revision: Mapped[int] = mapped_column(Integer)
    stage_event_id: Mapped[UUID | None] = mapped_column(ForeignKey("stage_event.id", ondelete="CASCADE"))
    call_id: Mapped[UUID | None] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"))
    stage: Mapped[str] = mapped_column(String(100), default="", server_default="")  # of the stage event, for lists
    # within it a webhook's deliveries go one after the other: the id of the call or ordered call
    sequence_id: Mapped[UUID | None] = mapped_column(Uuid)
    kind: Mapped[str] = mapped_column(String(20), default="stage")  # stage, test, chain …
    state: Mapped[str] = mapped_column(String(10))
    lane: Mapped[int] = mapped_column(SmallInteger)  # one of LANES
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)  # spec.limits.delay: due_at of the first attempt
    claim_token: Mapped[UUID | None] = mapped_column(Uuid)
    attempts: Mapped[int] = mapped_column(Integer, default=0)  # all that were started, the lost ones too
    tries: Mapped[int] = mapped_column(Integer, default=0)  # finished ones since publish or the last resend
    held: Mapped[bool] = mapped_column(default=False)
    out_of_order: Mapped[bool] = mapped_column(default=False)  # was held, and went without waiting any longer
    resend_id: Mapped[UUID | None] = mapped_column(ForeignKey("resend.id", ondelete="SET NULL"))
    # the request as rendered at publish time; credentials and signatures join it when it is sent
    method: Mapped[str] = mapped_column(String(10))
    url: Mapped[str] = mapped_column(String)
    headers: Mapped[list[list[str]]] = mapped_column(JsonColumn)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    # webhooks/attached: what is inserted into the body when it is sent
    files: Mapped[list[list[Any]]] = mapped_column(JsonColumn, default=list)
    # the last attempt's outcome: a code of sending/outcomes.py and the HTTP status, empty before the first
    outcome: Mapped[str] = mapped_column(String(40), default="")
    message: Mapped[str] = mapped_column(String(1000), default="")
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    checked_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # whoever removed what it contained for good (delivery/outbox/remove_content.py), and when
    content_removed_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    content_removed_by: Mapped[str | None] = mapped_column(String(255))


@dataclass(slots=True)
class NewDelivery:
    """A delivery about to be inserted: the only list of the columns of a new row. See Delivery for their meaning.

    The defaults are those of a delivery without an attempt. One that could not be rendered has no request (method ""),
    has failed, and says why in outcome and message.
    """

    id: UUID
    project_id: int
    webhook_id: int
    webhook_revision: int
    kind: str
    created_on: datetime
    due_at: datetime
    stage_event_id: UUID | None = None
    call_id: UUID | None = None
    sequence_id: UUID | None = None
    lane: int = FIRST_ATTEMPTS
    held: bool = False
    state: str = PENDING
    method: str = ""
    url: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    files: Sequence[Sequence[Any]] = ()
    outcome: str = ""
    message: str = ""
    finished_on: datetime | None = None
    not_before: datetime | None = None
    stage: str = ""
    claim_token: UUID | None = None
    attempts: int = 0
    tries: int = 0


@dataclass(slots=True)
class AnsweredQuestion(NewDelivery):
    """A delivery that is inserted when it is over: the call that asked has its answer."""

    status_code: int | None = None
    duration_ms: int | None = None


_TABLE = Base.metadata.tables["delivery"]
_INSERT = Insert(_TABLE, NewDelivery, {"out_of_order": "false"})
_INSERT_QUESTION = Insert(_TABLE, AnsweredQuestion, {"out_of_order": "false"})


def insert_deliveries(session: Session, deliveries: Sequence[NewDelivery]) -> None:
    """Writes new rows, in the caller's transaction."""
    _INSERT.run(session, deliveries)


def insert_question(session: Session, question: AnsweredQuestion) -> None:
    """Writes the row of a question, in the caller's transaction."""
    _INSERT_QUESTION.run(session, [question])


class Attempt(Base):
    """One request that left, or was about to: written before it leaves. Without finished_on its worker was lost."""

    __tablename__ = "attempt"
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("delivery.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    started_on: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str] = mapped_column(String(40), default="")
    message: Mapped[str] = mapped_column(String(1000), default="")
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    # microseconds of each phase: dns, connect, tls, first byte, total
    dns_us: Mapped[int | None] = mapped_column(BigInteger)
    connect_us: Mapped[int | None] = mapped_column(BigInteger)
    tls_us: Mapped[int | None] = mapped_column(BigInteger)
    first_byte_us: Mapped[int | None] = mapped_column(BigInteger)
    total_us: Mapped[int | None] = mapped_column(BigInteger)
    peer: Mapped[str] = mapped_column(String(60), default="")
    tls_version: Mapped[str] = mapped_column(String(20), default="")
    # what left beside the rendered request (signature headers, redacted credentials) and what came back
    request_headers: Mapped[list[list[str]]] = mapped_column(JsonColumn, default=list)
    response_headers: Mapped[list[list[str]]] = mapped_column(JsonColumn, default=list)
    response_body: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    response_truncated: Mapped[bool] = mapped_column(default=False)


class WebhookPace(Base):
    """When the next request of a webhook with a rate (spec.limits.per_minute) may leave. Written by claim and record.

    No foreign key: the first row of a webhook would wait for everybody who changes that webhook, and the claim with all
    its other deliveries, too. prune deletes the rows whose time has passed.
    """

    __tablename__ = "webhook_pace"
    webhook_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    next_on: Mapped[datetime] = mapped_column(UtcDateTime)
