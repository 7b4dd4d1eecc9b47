"""The stream of events goes by ids alone."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_event_stream", table_name="event")
    op.create_index("ix_event_stream", "event", ["project_id", "id"])


def downgrade() -> None:
    op.drop_index("ix_event_stream", table_name="event")
    op.create_index("ix_event_stream", "event", ["project_id", "xid", "id"])
