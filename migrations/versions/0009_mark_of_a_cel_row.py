"""mark of a CEL row"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What the row at the cursor says is not known yet: the next cursor that is written brings it."""
    op.add_column("pbx", sa.Column("cel_mark", sa.String(length=400), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("pbx", "cel_mark")
