"""what sign-in hangs on, apart from the key that seals"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hub_keys",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("root_sealed", sa.String(200), nullable=False),
        sa.Column("password_salt", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub_keys")),
    )


def downgrade() -> None:
    op.drop_table("hub_keys")
