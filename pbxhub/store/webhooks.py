"""Webhooks and all their earlier versions."""

from datetime import datetime
from typing import Self

from sqlalchemy import ForeignKey, Index, Integer, String, inspect, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from pbxhub.store.accounts import Project
from pbxhub.store.columns import Id, TypedJson, UtcDateTime, partial_index
from pbxhub.store.session import Base
from pbxhub.webhooks.spec import WebhookSpec, dump_spec, load_spec


class Webhook(Base):
    """A webhook ("event" on the pages): what to send when and where. Users edit spec; the hub maintains the rest."""

    __tablename__ = "webhook"
    __table_args__ = (
        Index("ix_webhook_project_stage", "project_id", "stage"),
        partial_index("ix_webhook_paused", "id", where="paused_on IS NOT NULL"),
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(200))
    stage: Mapped[str] = mapped_column(String(100))
    set_name: Mapped[str] = mapped_column(String(200), default="")  # webhooks that belong together; "" for none
    enabled: Mapped[bool] = mapped_column(default=True)
    locked: Mapped[bool] = mapped_column(default=False)  # the default event: not editable
    # "callback" and "resthook": the hub's own, behind callbacks of ordered calls and subscribers; not in the table
    kind: Mapped[str] = mapped_column(String(10), default="event")
    position: Mapped[int] = mapped_column(Integer, default=0)
    revision: Mapped[int] = mapped_column(Integer, default=1)  # grows with every edit: WebhookVersion
    spec: Mapped[WebhookSpec] = mapped_column(TypedJson(load_spec, dump_spec))
    secret_sealed: Mapped[str] = mapped_column(String(4000), default="")  # of spec.request.auth
    # the connection that spec.request.auth names; no foreign key, account/connections.py clears it
    connection_id: Mapped[int | None] = mapped_column(Id, index=True)
    tls_key_sealed: Mapped[str] = mapped_column(String, default="")  # private key of spec.request.tls_certificate
    signing_sealed: Mapped[str] = mapped_column(String(4000), default="")  # JSON of sending/webhook_signatures.py
    # health, written by delivery/outbox/pausing.py only
    paused_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paused_reason: Mapped[str] = mapped_column(String(500), default="")
    failures: Mapped[int] = mapped_column(Integer, default=0)  # final failures in a row
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_on: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the last final failure
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_on: Mapped[datetime | None] = mapped_column(UtcDateTime)  # kept for the history of its deliveries

    _NOT_COPIED = frozenset(
        {"id", "locked", "kind", "position", "revision", "paused_on", "paused_reason", "failures", "failing_since",
         "failed_on", "created_on", "deleted_on"}
    )  # fmt: skip

    @property
    def secrets_sealed(self) -> tuple[str, str, str]:
        """Its encrypted secrets; "" for one that it does not have."""
        return self.secret_sealed, self.tls_key_sealed, self.signing_sealed

    def copy(self) -> Self:
        """A new webhook with everything that a user has set in this one; not yet in a session."""
        columns = (column.key for column in inspect(type(self)).column_attrs)
        return type(self)(**{name: getattr(self, name) for name in columns if name not in self._NOT_COPIED})


class WebhookVersion(Base):
    """A webhook at one revision, with its author and time."""

    __tablename__ = "webhook_version"
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"), primary_key=True)
    revision: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    stage: Mapped[str] = mapped_column(String(100))
    enabled: Mapped[bool] = mapped_column()
    spec: Mapped[WebhookSpec] = mapped_column(TypedJson(load_spec, dump_spec))
    author_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="SET NULL"), index=True)
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)


def remember_version(session: Session, webhook: Webhook, author_id: int | None, now: datetime) -> None:
    """Saves the webhook's present revision for the history."""
    session.add(
        WebhookVersion(
            webhook_id=webhook.id, revision=webhook.revision, name=webhook.name, stage=webhook.stage,
            enabled=webhook.enabled, spec=webhook.spec, author_id=author_id, created_on=now,
        )
    )  # fmt: skip


def touch_webhooks(session: Session, project_id: int) -> None:
    """Tells every process that the project's webhooks have changed. Call it in the transaction of the change."""
    session.execute(
        update(Project).where(Project.id == project_id).values(webhooks_revision=Project.webhooks_revision + 1)
    )
    session.info.setdefault(_TOUCHED, set()).add(project_id)


def has_touched_webhooks(session: Session, project_id: int) -> bool:
    """Whether this transaction has changed webhooks: what it reads of them may never be committed."""
    return project_id in session.info.get(_TOUCHED, ())


_TOUCHED = "pbxhub_touched_webhooks"
