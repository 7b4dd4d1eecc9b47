"""The FastAGI address of a new PBX is never that of a deleted one. Existing PBXs keep the address in their dialplan."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pbx", sa.Column("agi_salt", sa.String(20), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("pbx", "agi_salt")
