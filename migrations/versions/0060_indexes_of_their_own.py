"""Each query of a claim is served by one index, whatever the planner knows; on PostgreSQL claims are numbered."""

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None

SOON, BEFORE = "state || '' = 'pending'", "outcome = '' AND state IN ('pending', '')"
OLD_SOON, OLD_BEFORE = "state = 'pending'", "state = 'pending' AND outcome = ''"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE delivery_claim")
    _indexes(SOON, BEFORE, "claim_token")


def downgrade() -> None:
    _indexes(OLD_SOON, OLD_BEFORE, "webhook_id")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP SEQUENCE delivery_claim")


def _indexes(soon: str, before: str, claimed_by: str) -> None:
    op.drop_index("ix_delivery_claimed", "delivery")
    leased = sa.text("claim_token IS NOT NULL")
    op.create_index("ix_delivery_claimed", "delivery", [claimed_by, "due_at"], sqlite_where=leased,
                    postgresql_where=leased)  # fmt: skip
    op.drop_index("ix_delivery_soon", "delivery")
    columns = [sa.text("(lane + 0)"), "due_at", "webhook_id"]
    op.create_index("ix_delivery_soon", "delivery", columns, sqlite_where=sa.text(soon),
                    postgresql_where=sa.text(soon))  # fmt: skip
    op.drop_index("ix_delivery_before", "delivery")
    op.create_index("ix_delivery_before", "delivery", ["sequence_id"], sqlite_where=sa.text(before),
                    postgresql_where=sa.text(before))  # fmt: skip
