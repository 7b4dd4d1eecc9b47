"""nobody could resume what is behind a subscriber of a resthook: it is not paused any more"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "UPDATE webhook SET paused_on = NULL, paused_reason = '', failures = 0, failing_since = NULL"
        " WHERE kind = 'resthook' AND paused_on IS NOT NULL"
    )


def downgrade() -> None:
    """They stay as they are."""
