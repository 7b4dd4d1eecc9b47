"""live calls"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """The notes on calls that go on get a table of their own: some of these calls are none of the history yet."""
    op.create_table(
        "live_call",
        sa.Column("pbx_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("linkedid", sa.String(length=150), nullable=False),
        sa.Column("memory", JSON, nullable=False),
        sa.ForeignKeyConstraint(["pbx_id"], ["pbx.id"], name=op.f("fk_live_call_pbx_id_pbx"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("pbx_id", "linkedid", name=op.f("pk_live_call")),
    )
    op.execute(
        "INSERT INTO live_call (pbx_id, linkedid, memory)"
        " SELECT pbx_id, linkedid, memory FROM call WHERE ended_on IS NULL AND pbx_id IS NOT NULL"
    )
    op.drop_column("call", "memory")


def downgrade() -> None:
    op.add_column("call", sa.Column("memory", JSON, nullable=False, server_default="{}"))
    op.execute(
        "UPDATE call SET memory = (SELECT live.memory FROM live_call AS live"
        " WHERE live.pbx_id = call.pbx_id AND live.linkedid = call.linkedid)"
        " WHERE EXISTS (SELECT 1 FROM live_call AS live"
        " WHERE live.pbx_id = call.pbx_id AND live.linkedid = call.linkedid)"
    )
    op.drop_table("live_call")
