"""What is due soon: pending deliveries in the order of their times."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_delivery_soon",
        "delivery",
        [sa.text("(lane + 0)"), "due_at", "webhook_id"],
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )


def downgrade() -> None:
    op.drop_index("ix_delivery_soon", table_name="delivery")
