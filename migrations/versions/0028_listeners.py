"""Which listener has which PBX."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")
    op.create_table(
        "listener",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("started_on", moment, nullable=False),
        sa.Column("seen_on", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_listener"),
    )
    op.create_table(
        "pbx_lease",
        sa.Column(
            "pbx_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.ForeignKey("pbx.id", name="fk_pbx_lease_pbx_id_pbx", ondelete="CASCADE"), nullable=False,
        ),
        sa.Column(
            "listener_id", sa.Uuid(),
            sa.ForeignKey("listener.id", name="fk_pbx_lease_listener_id_listener", ondelete="SET NULL"),
        ),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.PrimaryKeyConstraint("pbx_id", name="pk_pbx_lease"),
    )  # fmt: skip
    op.create_index("ix_pbx_lease_listener_id", "pbx_lease", ["listener_id"])


def downgrade() -> None:
    op.drop_table("pbx_lease")
    op.drop_table("listener")
