"""The content of a delivery or of a call can be removed for good; its trace says who did it, and when."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    for table in ("delivery", "before_resend", "call"):
        op.add_column(table, sa.Column("content_removed_on", MOMENT, nullable=True))
        op.add_column(table, sa.Column("content_removed_by", sa.String(length=255), nullable=True))
    op.add_column("stage_event", sa.Column("content_removed_on", MOMENT, nullable=True))


def downgrade() -> None:
    op.drop_column("stage_event", "content_removed_on")
    for table in ("call", "before_resend", "delivery"):
        op.drop_column(table, "content_removed_by")
        op.drop_column(table, "content_removed_on")
