"""CEL that a PBX writes into a table over the network."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pbx", sa.Column("cel_url_sealed", sa.String(3000), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("pbx", "cel_url_sealed")
