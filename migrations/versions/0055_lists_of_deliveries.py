"""The lists of deliveries that were not delivered, and of those with a rare status, are found without reading all."""

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0050"
branch_labels = None
depends_on = None

BAD = sa.text("state IN ('failed', 'cancelled')")
RARE = sa.text("status_code NOT IN (200, 201, 202, 204)")


def upgrade() -> None:
    columns = ["project_id", "state", "id"]
    op.create_index("ix_delivery_not_delivered", "delivery", columns, sqlite_where=BAD, postgresql_where=BAD)
    columns = ["project_id", "status_code", "id"]
    op.create_index("ix_delivery_status", "delivery", columns, sqlite_where=RARE, postgresql_where=RARE)


def downgrade() -> None:
    op.drop_index("ix_delivery_status", "delivery")
    op.drop_index("ix_delivery_not_delivered", "delivery")
