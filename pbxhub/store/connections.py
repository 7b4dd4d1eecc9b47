"""Connections: credentials for another system, kept once for many webhooks.

The states of a connection:

new      it has no token yet. Entered by adding it, or by a change after which its tokens may no longer be used. Left
         by renewals.py, when the provider grants a token, or when a person has agreed in the browser.
ready    it has credentials. Left for refused.
refused  the provider refused to renew the token: `reason` has its words. Left by connecting again.

Whether deliveries are sent is decided by ready_until alone: a refused connection is used until its token ends. While
ready_until is in the past, its deliveries wait, and the claim leaves them alone (delivery/outbox/due.py).

Renewing a token, by one process at a time:

1. A process writes `renewing` (its own mark) and `renewing_until`, and commits. Others leave the row alone until then.
2. It asks the provider. Killed here, its mark runs out, and another process goes on with the stored refresh token.
3. One transaction stores the new tokens, the rotated refresh token with its access token, and counts `version`. It
   does so only if `version` is still that of step 1, so that nothing older replaces something newer.

If a process is killed between the provider's answer and the commit of step 3, a rotated refresh token is lost. Some
providers accept the former one once more; where one does not, the connection is refused and must be connected again.
tests/test_renew_tokens.py
"""

from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Integer, String, UniqueConstraint, Uuid, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pbxhub.store.columns import Id, TypedJson, UtcDateTime, one_of
from pbxhub.store.session import Base
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.connection_spec import ConnectionSpec, dump_connection, load_connection

NEW, READY, REFUSED = "new", "ready", "refused"
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


class Connection(Base):
    """Credentials of a project for one system."""

    __tablename__ = "connection"
    __table_args__ = (UniqueConstraint("project_id", "name"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(200))
    spec: Mapped[ConnectionSpec] = mapped_column(TypedJson(load_connection, dump_connection))
    # password, token, value, client secret or private key, by spec.kind and spec.oauth.grant
    secret_sealed: Mapped[str] = mapped_column(String, default="")
    tokens_sealed: Mapped[str] = mapped_column(String, default="")  # JSON of delivery/live_connections.OAuthTokens
    # grows with new tokens, and when tokens that are being fetched are no longer for it
    version: Mapped[int] = mapped_column(Integer, default=1)
    state: Mapped[str] = mapped_column(String(10), default=NEW)
    reason: Mapped[str] = mapped_column(String(1000), default="")  # why it is not ready, or could not be renewed yet
    ready_until: Mapped[datetime | None] = mapped_column(UtcDateTime)  # FOREVER for what does not end
    renew_on: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)  # when the next token is fetched
    renewed_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failures: Mapped[int] = mapped_column(Integer, default=0)  # renewals in a row that the provider did not answer
    renewing: Mapped[UUID | None] = mapped_column(Uuid)
    renewing_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)

    def waits(self, now: datetime) -> bool:
        """Whether its deliveries wait for a token."""
        return self.ready_until is None or self.ready_until <= now


def connections_of(session: Session, project_id: int) -> list[Connection]:
    """The connections of a project, by name."""
    of_project = select(Connection).where(Connection.project_id == project_id)
    return list(session.scalars(of_project.order_by(Connection.name)))


def connection_named(session: Session, project_id: int, name: str) -> Connection | None:
    """A connection of a project by its name."""
    return session.scalar(select(Connection).where(Connection.project_id == project_id, Connection.name == name))


def waiting_for(session: Session, webhook: Webhook, now: datetime) -> Connection | None:
    """The connection for whose token the deliveries of a webhook wait; None when they wait for none."""
    row = session.get(Connection, webhook.connection_id) if webhook.connection_id else None
    return row if row is not None and row.waits(now) else None


def used_by(session: Session, connection_ids: Collection[int]) -> dict[int, list[Webhook]]:
    """The webhooks that use each of these connections, in the order of their table."""
    users = select(Webhook).where(one_of(Webhook.connection_id, connection_ids), Webhook.deleted_on.is_(None))
    found: dict[int, list[Webhook]] = {connection_id: [] for connection_id in connection_ids}
    for webhook in session.scalars(users.order_by(Webhook.position, Webhook.id)):
        found[webhook.connection_id or 0].append(webhook)
    return found
