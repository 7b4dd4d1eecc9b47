"""The audit log calls a REST hook as everything else does."""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

OLD, NEW = "resthook ", "REST hook "


def upgrade() -> None:
    _rename(OLD, NEW)


def downgrade() -> None:
    _rename(NEW, OLD)


def _rename(old: str, new: str) -> None:
    for what in ("added", "removed", "subscribed", "unsubscribed"):
        op.execute(f"UPDATE audit_entry SET action = '{new}{what}' WHERE action = '{old}{what}'")  # noqa: S608
