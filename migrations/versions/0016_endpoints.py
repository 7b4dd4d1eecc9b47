"""Endpoints of an employee's phones, by which calls are known for theirs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column("employee", sa.Column("endpoints", json, nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("employee", "endpoints")
