"""the link that makes the first owner"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "first_setup",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("asked_for", sa.Boolean(), nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_first_setup")),
    )


def downgrade() -> None:
    op.drop_table("first_setup")
