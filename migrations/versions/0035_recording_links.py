"""A project says how long links to its recordings are valid, and can revoke them."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("project", sa.Column("recording_link_days", sa.Integer, nullable=False, server_default="0"))
    op.add_column("project", sa.Column("recording_link_series", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("project", "recording_link_series")
    op.drop_column("project", "recording_link_days")
