"""A listener that gives a PBX away goes on hearing it until the next one has tried to log in."""

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pbx_lease", sa.Column("tried", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("pbx_lease", "tried")
