"""A request may send the recording of its call: where its bytes belong stands beside the stored body."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("before_resend", sa.Column("files", JSON))
    op.add_column("delivery", sa.Column("files", JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("delivery", "files")
    op.drop_column("before_resend", "files")
