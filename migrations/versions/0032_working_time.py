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
    with op.batch_alter_table("project") as table:
        table.add_column(sa.Column("working_hours", JSON, nullable=False, server_default="[]"))
        table.add_column(sa.Column("holidays", JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    with op.batch_alter_table("project") as table:
        table.drop_column("working_hours")
        table.drop_column("holidays")
