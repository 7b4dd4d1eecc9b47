"""Who called, however the number was written: so that one person is counted as one."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # filled in the background while the hub runs: delivery/persons.py
    op.add_column("call", sa.Column("person", sa.String(80), nullable=True))
    op.create_index("ix_call_project_person", "call", ["project_id", "person"])
    op.add_column("project", sa.Column("persons_by", sa.String(2), nullable=True))


def downgrade() -> None:
    op.drop_column("project", "persons_by")
    op.drop_index("ix_call_project_person", table_name="call")
    op.drop_column("call", "person")
