"""What a PBX is called outside of the database is never what a deleted one was called. Existing PBXs have no salt, so
that the FastAGI address in their dialplan stays.

Going down, PBXs added since lose theirs: copy their dialplan line anew from the page Call control.
"""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pbx", sa.Column("salt", sa.String(20), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("pbx", "salt")
