"""The deliveries of a stage, and those without an answer, are found without reading all."""

import sqlalchemy as sa
from alembic import op

revision = "0057"
down_revision = "0055"
branch_labels = None
depends_on = None

UNCHECKED = sa.text("state = 'failed' AND checked_on IS NULL")
UNANSWERED = sa.text("status_code IS NULL AND outcome <> ''")


def upgrade() -> None:
    op.add_column("delivery", sa.Column("stage", sa.String(100), nullable=False, server_default=""))
    op.execute(
        "UPDATE delivery SET stage = stage_event.stage FROM stage_event WHERE stage_event.id = delivery.stage_event_id"
    )
    op.create_index("ix_delivery_stage", "delivery", ["project_id", "stage", "id"])
    op.create_index(
        "ix_delivery_unanswered", "delivery", ["project_id", "id"], sqlite_where=UNANSWERED, postgresql_where=UNANSWERED
    )
    _unchecked(["webhook_id", "outcome", "status_code", "created_on"])


def downgrade() -> None:
    _unchecked([])
    op.drop_index("ix_delivery_unanswered", "delivery")
    op.drop_index("ix_delivery_stage", "delivery")
    op.drop_column("delivery", "stage")


def _unchecked(shown: list[str]) -> None:
    """The failures that nobody has checked; shown: what is read of them without their rows."""
    op.drop_index("ix_delivery_unchecked", "delivery")
    columns = ["project_id", "id", *shown]
    op.create_index("ix_delivery_unchecked", "delivery", columns, sqlite_where=UNCHECKED, postgresql_where=UNCHECKED)
