"""Deliveries: one webhook for one stage event each, the queue and the history in one table, and every attempt.

States of a delivery (only delivery/outbox changes them):

pending    entered by publish, record (of a failed attempt that will be tried again, and the next of a chain) and
           resend. Due at due_at. Left by record or cancel, or by put_back when it had been sent before.
delivered  entered by record: an attempt met the success rule. Left by a resend only.
failed     "with error": entered by record when no try is left, or at publish when the request could not be rendered.
           Left by a resend only. checked_on takes it off the error page.
cancelled  entered when its webhook was deleted or disabled before it was sent. Left by a resend only.

A pending one is in one of these; every one has an end, whoever is killed meanwhile:

is                 columns                        entered by               left by
ready              due_at <= now, no token        publish, resend, record  claim
                   not held                       (a retry: due later)
held               held; due_at at most HOLD      hold_back, hold_resent,  release_next (what was ahead is recorded);
                   away                           hold_on (a lost one)     claim, when it is due: hold_on lets it go, or
                                                                           moves due_at while somebody ahead has not
                                                                           had HOLD
leased             claim_token; due_at is when    claim                    record; the next claim after due_at, which
                   the lease is over                                       takes it as lost; give_back makes that now
lost too often     leased, no attempt of its own  claim (MOST_LOST lost    record, as failed; a later claim, should that
                                                  attempts in a row)       worker be lost, too
of a paused        any of these; the webhook      publish, pause           resume; whoever disables or deletes the
webhook            has paused_on                                           webhook
of a webhook that  any of these                   disable, delete          cancel_pending then and there; the next claim
is gone                                                                    where somebody else had locked it
sent again         tries = 0 and a row in         resend                   record; put_back (the resend is stopped, the
                   before_resend                                           webhook is disabled): what it was before
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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
from pbxhub.store.columns import JsonColumn, UtcDateTime
from pbxhub.store.session import Base

PENDING, DELIVERED, FAILED, CANCELLED = "pending", "delivered", "failed", "cancelled"
FIRST_ATTEMPTS, RETRIES, BULK = LANES = 1, 2, 3
"""Queues of their own, in the order of urgency: nobody's first attempt waits behind retries or a bulk resend."""


class Delivery(Base):
    """One webhook for one stage event: the row is the queue."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("stage_event_id", "webhook_id", "kind"),
        Index(
            "ix_delivery_soon",  # the claim: behind which webhooks something is due, whatever else waits
            text("(lane + 0)"),  # so that nobody takes it in place of the next one, and walks past all that is due
            "due_at",
            "webhook_id",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_delivery_due",  # the claim: the first ones of each webhook
            "lane",
            "webhook_id",
            "due_at",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_delivery_claimed",
            "webhook_id",
            "due_at",
            sqlite_where=text("claim_token IS NOT NULL"),
            postgresql_where=text("claim_token IS NOT NULL"),
        ),
        Index(
            "ix_delivery_resend",
            "resend_id",
            sqlite_where=text("resend_id IS NOT NULL"),
            postgresql_where=text("resend_id IS NOT NULL"),
        ),
        Index("ix_delivery_held", "sequence_id", sqlite_where=text("held"), postgresql_where=text("held")),
        Index(
            "ix_delivery_before",  # what others of the same sequence may have to wait for
            "sequence_id",
            sqlite_where=text("state = 'pending' AND outcome = ''"),
            postgresql_where=text("state = 'pending' AND outcome = ''"),
        ),
        Index(
            "ix_delivery_unchecked",
            "project_id",
            "id",
            sqlite_where=text("state = 'failed' AND checked_on IS NULL"),
            postgresql_where=text("state = 'failed' AND checked_on IS NULL"),
        ),
        Index(
            "ix_delivery_reason",  # without what went well at once, so that it costs nothing there
            "project_id",
            "outcome",
            "id",
            sqlite_where=text("outcome <> '' AND outcome <> 'ok'"),
            postgresql_where=text("outcome <> '' AND outcome <> 'ok'"),
        ),
        Index("ix_delivery_project", "project_id", "id"),
        Index("ix_delivery_call", "call_id"),
        Index("ix_delivery_webhook", "webhook_id", "id"),
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"))
    webhook_revision: Mapped[int] = mapped_column(Integer)
    stage_event_id: Mapped[UUID | None] = mapped_column(ForeignKey("stage_event.id", ondelete="CASCADE"))
    call_id: Mapped[UUID | None] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"))
    # within it a webhook's deliveries go one after the other: the id of the call, or of the ordered call they tell of
    sequence_id: Mapped[UUID | None] = mapped_column(Uuid)
    kind: Mapped[str] = mapped_column(String(20), default="stage")  # stage, test, chain …
    state: Mapped[str] = mapped_column(String(10))
    lane: Mapped[int] = mapped_column(SmallInteger)  # one of LANES
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
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
    # the last attempt's outcome: a code of sending/outcomes.py and the HTTP status, empty before the first
    outcome: Mapped[str] = mapped_column(String(40), default="")
    message: Mapped[str] = mapped_column(String(1000), default="")
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    checked_on: Mapped[datetime | None] = mapped_column(UtcDateTime)


@dataclass(slots=True)
class NewDelivery:
    """A delivery about to be inserted: nobody else names the columns of a new row.

    Without a request (method "") it has failed, and outcome and message say why. See Delivery for the fields; those
    left out begin as a delivery without any attempt.
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
    outcome: str = ""
    message: str = ""
    finished_on: datetime | None = None
    attempts: int = 0
    tries: int = 0
    status_code: int | None = None
    duration_ms: int | None = None


_INSERT = Insert(Base.metadata.tables["delivery"], NewDelivery, {"out_of_order": "false"})


def insert_deliveries(session: Session, deliveries: Sequence[NewDelivery]) -> None:
    """Writes new rows, in the caller's transaction."""
    _INSERT.run(session, deliveries)


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
