"""Operators of the hub, and a log of theirs."""

import sqlalchemy as sa
from alembic import op

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("user_account", sa.Column("operator", sa.Boolean(), nullable=False, server_default=sa.false()))
    # whoever set the hub up runs it; an invited user who never chose a password cannot sign in
    users = sa.table(
        "user_account",
        sa.column("id"),
        sa.column("created_on"),
        sa.column("password"),
        sa.column("operator", sa.Boolean),
    )
    has_none = sa.case((users.c.password == "", 1), else_=0)
    oldest = sa.select(users.c.id).order_by(has_none, users.c.created_on, users.c.id).limit(1).scalar_subquery()
    op.execute(users.update().where(users.c.id == oldest).values(operator=True))
    with op.batch_alter_table("audit_entry") as batch:
        batch.alter_column("project_id", existing_type=_ID, nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM audit_entry WHERE project_id IS NULL")
    with op.batch_alter_table("audit_entry") as batch:
        batch.alter_column("project_id", existing_type=_ID, nullable=False)
    op.drop_column("user_account", "operator")
