"""The charset of names that are not UTF-8."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pbx", sa.Column("charset", sa.String(20), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("pbx", "charset")
