"""When the hub was restored from a backup: what tells of earlier calls may have been sent already."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")
    op.add_column("project", sa.Column("restored_on", moment))


def downgrade() -> None:
    op.drop_column("project", "restored_on")
