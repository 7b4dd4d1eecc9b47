"""invitations are no members yet, and which accounts have proved their address

Users who were invited and never chose a password become invitations with the same roles: they never could sign in.
Their old links no longer work; an owner sends the invitation again, or the operator runs `pbxhub user link`.
"""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_users = sa.table(
    "user_account", sa.column("id"), sa.column("email"), sa.column("password"), sa.column("operator", sa.Boolean),
    sa.column("created_on", MOMENT), sa.column("email_confirmed_on", MOMENT),
)  # fmt: skip
_members = sa.table("membership", sa.column("project_id"), sa.column("user_id"), sa.column("role"))


def upgrade() -> None:
    op.add_column("user_account", sa.Column("email_confirmed_on", MOMENT, nullable=True))
    op.execute(sa.update(_users).where(_users.c.operator.is_(sa.true())).values(email_confirmed_on=_users.c.created_on))
    invitations = op.create_table(
        "invitation",
        sa.Column("id", _ID, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=True),
        sa.Column("mailed", sa.Boolean(), nullable=False),
        sa.Column("invited_by", _ID, nullable=True),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.Column("expires_on", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["invited_by"],
            ["user_account.id"],
            name=op.f("fk_invitation_invited_by_user_account"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_invitation_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitation")),
        sa.UniqueConstraint("project_id", "email", name=op.f("uq_invitation_project_id_email")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invitation_token_hash")),
    )
    op.create_index(op.f("ix_invitation_email"), "invitation", ["email"])
    op.create_index(op.f("ix_invitation_invited_by"), "invitation", ["invited_by"])
    _make_invitations(op.get_bind(), invitations)


def _make_invitations(connection: sa.Connection, invitations: sa.Table) -> None:
    now = datetime.now(UTC)
    dates = {"created_on": _stored(connection, now), "expires_on": _stored(connection, now + timedelta(days=7))}
    waiting = sa.select(_members.c.project_id, _users.c.email, _members.c.role).where(
        _members.c.user_id == _users.c.id, _users.c.password == ""
    )
    for row in connection.execute(waiting).all():
        connection.execute(
            sa.insert(invitations).values(
                project_id=row.project_id, email=row.email, role=row.role, mailed=False, **dates
            )
        )  # fmt: skip
    connection.execute(sa.delete(_members).where(_members.c.user_id.in_(_without_password())))
    connection.execute(sa.delete(_users).where(_users.c.password == ""))


def _stored(connection: sa.Connection, moment: datetime) -> datetime | int:
    """As the column has it: microseconds since 1970 on SQLite."""
    return moment if connection.dialect.name == "postgresql" else round(moment.timestamp() * 1_000_000)


def _without_password() -> sa.Select[tuple[int]]:
    return sa.select(_users.c.id).where(_users.c.password == "")


def downgrade() -> None:
    """Whoever was invited is invited again: there is no user yet that an older hub could make a member."""
    op.drop_table("invitation")
    op.drop_column("user_account", "email_confirmed_on")
