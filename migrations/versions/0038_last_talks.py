"""Who talked last with a person is found without reading all calls of that person."""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_call_project_person_started", "call", ["project_id", "person", "started_on"])
    op.drop_index("ix_call_project_person", table_name="call")


def downgrade() -> None:
    op.create_index("ix_call_project_person", "call", ["project_id", "person"])
    op.drop_index("ix_call_project_person_started", table_name="call")
