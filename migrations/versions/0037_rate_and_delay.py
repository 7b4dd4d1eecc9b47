"""A webhook sends at most so many requests a minute, and some time after its event."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    op.add_column("delivery", sa.Column("not_before", TIME))
    op.create_table(
        "webhook_pace",
        sa.Column("webhook_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("next_on", TIME, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("webhook_pace")
    op.drop_column("delivery", "not_before")  # in place: a copy of the table would lose the index of 0007 in SQLite
