"""Where a PBX may be, which of its files are its own, and which networks a project may use."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    # what is there goes on working: PBXs stay where they are, webhooks reach what they reached
    op.add_column("pbx", sa.Column("any_network", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("pbx", sa.Column("recordings", sa.String(1000), nullable=False, server_default=""))
    op.add_column("project", sa.Column("pbx_networks", JSON, nullable=False, server_default="[]"))
    op.add_column("project", sa.Column("webhook_networks", JSON, nullable=True))
    # the common folder belongs to the PBXs of one project; where several share it, an operator takes it apart
    pbx = sa.table("pbx", sa.column("project_id"), sa.column("recordings"))
    of_one_project = sa.select(sa.func.count(sa.distinct(pbx.c.project_id))).scalar_subquery() == 1
    op.execute(pbx.update().where(of_one_project).values(recordings="PBXHUB_RECORDINGS"))


def downgrade() -> None:
    for name in ("webhook_networks", "pbx_networks"):
        op.drop_column("project", name)
    for name in ("recordings", "any_network"):
        op.drop_column("pbx", name)
