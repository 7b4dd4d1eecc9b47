"""Webhooks that belong together have the name of their set."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhook", sa.Column("set_name", sa.String(200), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("webhook", "set_name")
