"""Connections: credentials for another system, kept once for many webhooks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "connection",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("secret_sealed", sa.String(), nullable=False),
        sa.Column("tokens_sealed", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.Column("ready_until", MOMENT),
        sa.Column("renew_on", MOMENT),
        sa.Column("renewed_on", MOMENT),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("renewing", sa.Uuid()),
        sa.Column("renewing_until", MOMENT),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_connection_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connection")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_connection_project_id_name")),
    )
    op.create_index(op.f("ix_connection_renew_on"), "connection", ["renew_on"])
    # no foreign key: to add one, SQLite would have to copy the table, and its deliveries would be deleted with it
    op.add_column("webhook", sa.Column("connection_id", ID))
    op.create_index(op.f("ix_webhook_connection_id"), "webhook", ["connection_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_webhook_connection_id"), "webhook")
    op.drop_column("webhook", "connection_id")
    op.drop_index(op.f("ix_connection_renew_on"), "connection")
    op.drop_table("connection")
