"""Tables of the API: answers to idempotent requests, REST hooks, attributes for future calls."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, LargeBinary, String, UniqueConstraint, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from pbxhub.calls.stages import JSON
from pbxhub.store.columns import Id, JsonColumn, UtcDateTime
from pbxhub.store.session import Base


class KeptAnswer(Base):
    """The answer to a POST with an Idempotency-Key. A repeated request gets it again and has no other effect.

    status 0: the first request is still running. request_hash: another request with the same key is refused.
    """

    __tablename__ = "kept_answer"
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int] = mapped_column(Integer, default=0)
    headers: Mapped[list[list[str]]] = mapped_column(JsonColumn, default=list)
    body: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    created_on: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class Resthook(Base):
    """A REST hook: a name that programs subscribe to."""

    __tablename__ = "resthook"
    __table_args__ = (UniqueConstraint("project_id", "name"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(80))
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)


class Subscriber(Base):
    """A subscriber's URL of a hook. webhook_id: the internal webhook whose deliveries go there."""

    __tablename__ = "subscriber"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    resthook_id: Mapped[int] = mapped_column(ForeignKey("resthook.id", ondelete="CASCADE"), index=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"), unique=True)
    target_url: Mapped[str] = mapped_column(String(8192))
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)


class Attributes(Base):
    """Attributes of a visitor (utm_source, client_id …) for calls with this number that begin in the time window.

    number: of the outside party, or the DID shown to the visitor; the digits of its E.164 form where it has one.
    """

    __tablename__ = "attributes"
    __table_args__ = (Index("ix_attributes_number", "project_id", "number", "valid_until"),)
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    number: Mapped[str] = mapped_column(String(40))
    valid_from: Mapped[datetime] = mapped_column(UtcDateTime)
    valid_until: Mapped[datetime] = mapped_column(UtcDateTime)
    values: Mapped[dict[str, JSON]] = mapped_column(JsonColumn)
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
