"""The address for calls from the CRM knows when it was removed with its set, and which CRM may be told of it."""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0048"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    op.add_column("dial_address", sa.Column("removed_on", MOMENT, nullable=True))
    op.add_column("dial_address", sa.Column("crm_host", sa.String, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("dial_address", "crm_host")
    op.drop_column("dial_address", "removed_on")
