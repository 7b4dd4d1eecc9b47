"""The locked Google Analytics webhooks skip calls without a client_id; until now each such call was an error."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _change(lambda spec: spec | {"incomplete": "skip"})


def downgrade() -> None:
    _change(lambda spec: {name: value for name, value in spec.items() if name != "incomplete"})


def _change(changed) -> None:
    spec = sa.column("spec", sa.JSON().with_variant(JSONB(), "postgresql"))
    webhook = sa.table("webhook", sa.column("id"), sa.column("locked"), sa.column("kind"), spec)
    project = sa.table("project", sa.column("webhooks_revision"))
    connection = op.get_bind()
    google_analytics = webhook.c.locked & (webhook.c.kind == "event")
    for webhook_id, old in connection.execute(sa.select(webhook.c.id, spec).where(google_analytics)).all():
        connection.execute(sa.update(webhook).where(webhook.c.id == webhook_id).values(spec=changed(old)))
    connection.execute(sa.update(project).values(webhooks_revision=project.c.webhooks_revision + 1))  # reload them
