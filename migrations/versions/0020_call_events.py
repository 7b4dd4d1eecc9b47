"""The events behind each call."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "call_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "pbx_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.ForeignKey("pbx.id", name="fk_call_events_pbx_id_pbx", ondelete="CASCADE"), nullable=False,
        ),
        sa.Column("linkedid", sa.String(150), nullable=False),
        sa.Column("recorded", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_call_events"),
    )  # fmt: skip
    op.create_index("ix_call_events_call", "call_events", ["pbx_id", "linkedid"])


def downgrade() -> None:
    op.drop_table("call_events")
