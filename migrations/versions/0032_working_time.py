"""Working hours and holidays of a project."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("project", sa.Column("working_hours", JSON, nullable=False, server_default="[]"))
    op.add_column("project", sa.Column("holidays", JSON, nullable=False, server_default="[]"))


def downgrade() -> None:  # column by column: SQLite would make the table anew, and delete what belongs to projects
    op.drop_column("project", "working_hours")
    op.drop_column("project", "holidays")
