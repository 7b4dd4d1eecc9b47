"""Deleted webhooks keep no secrets: nothing is sent with them, and one that no key opens would stop pbxhub rotate-key
for good."""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "UPDATE webhook SET secret_sealed = '', tls_key_sealed = '', signing_sealed = '' WHERE deleted_on IS NOT NULL"
    )


def downgrade() -> None:
    """They are not needed."""
