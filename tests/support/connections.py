"""Connections of a test's project, and webhooks that use them."""

from typing import Any

from pbxhub.store.connections import FOREVER, READY, Connection
from pbxhub.store.webhooks import touch_webhooks
from pbxhub.webhooks.connection_spec import ConnectionSpec
from pbxhub.webhooks.spec import Auth, RequestSpec
from tests.support.outbox_world import AFTER, NOON, VAULT, World, spec


def connect(world: World, what: ConnectionSpec, secret: str = "k3y-of-the-crm", **columns: Any) -> int:
    """Adds a connection that is ready; its id."""
    with world.database.write() as session:
        row = Connection(
            project_id=world.project_id, name="CRM", spec=what, secret_sealed=VAULT.seal(secret),
            **{"state": READY, "ready_until": FOREVER, "created_on": NOON, **columns},
        )  # fmt: skip
        session.add(row)
        session.flush()
        touch_webhooks(session, world.project_id)
        return row.id


def using(world: World, connection_id: int, url: str, **more: Any) -> int:
    request = RequestSpec(url=url, auth=Auth("connection", name="CRM"), **more)
    return world.webhook(AFTER, spec(request=request), connection_id=connection_id)
