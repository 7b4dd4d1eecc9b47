"""The deliveries of any status but 200 are found without reading all; those of a stage, also where a process of the
version before wrote them beside the new one."""

import sqlalchemy as sa
from alembic import op

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _status("status_code <> 200")
    op.execute(
        "UPDATE delivery SET stage = stage_event.stage FROM stage_event "
        "WHERE stage_event.id = delivery.stage_event_id AND delivery.stage = '' AND stage_event.stage <> ''"
    )


def downgrade() -> None:
    _status("status_code NOT IN (200, 201, 202, 204)")


def _status(which: str) -> None:
    op.drop_index("ix_delivery_status", "delivery")
    columns = ["project_id", "status_code", "id"]
    op.create_index("ix_delivery_status", "delivery", columns, sqlite_where=sa.text(which),
                    postgresql_where=sa.text(which))  # fmt: skip
