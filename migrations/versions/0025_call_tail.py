"""The end of a caller's number, for the search by a local number."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tail = sa.text("substr(person, length(person) - 6)")
    op.create_index("ix_call_project_tail", "call", ["project_id", tail])


def downgrade() -> None:
    op.drop_index("ix_call_project_tail", table_name="call")
