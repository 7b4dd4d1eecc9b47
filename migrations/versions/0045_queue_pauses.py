"""Programs pause members of queues: one row for each order. The address for calls from the CRM may belong to a set."""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "queue_pause",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("project_id", _id(), sa.ForeignKey("project.id", ondelete="CASCADE"), nullable=False),
        sa.Column("pbx_id", _id(), sa.ForeignKey("pbx.id", ondelete="CASCADE"), nullable=False),
        sa.Column("member", sa.String(160), nullable=False),
        sa.Column("queue", sa.String(80), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(80), nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("message", sa.String(200), nullable=False),
        sa.Column("created_on", _moment(), nullable=False),
        sa.Column("taken_on", _moment(), nullable=True),
        sa.Column("ended_on", _moment(), nullable=True),
    )
    waits = sa.text("status = 'waiting'")
    op.create_index("ix_queue_pause_project", "queue_pause", ["project_id", "id"])
    op.create_index("ix_queue_pause_waiting", "queue_pause", ["pbx_id"], sqlite_where=waits, postgresql_where=waits)
    op.add_column("dial_address", sa.Column("set_name", sa.String(200), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("dial_address", "set_name")
    op.drop_table("queue_pause")


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _moment() -> sa.types.TypeEngine[object]:
    return sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")
