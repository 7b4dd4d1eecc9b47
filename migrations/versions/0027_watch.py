"""which parts of the hub work, and which lost PBXs were told of"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "part_seen",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("seen_on", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_part_seen")),
    )
    op.add_column("pbx", sa.Column("told_lost_on", MOMENT, nullable=True))
    op.add_column("notice", sa.Column("pbx_id", ID, nullable=True))


def downgrade() -> None:
    op.drop_column("notice", "pbx_id")
    op.drop_column("pbx", "told_lost_on")
    op.drop_table("part_seen")
