"""Calls are found by talk time, recording, employee and DID, and counted for reports, without reading them whole."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

_SHOWN = ("direction", "disposition", "talk", "recorded")


def upgrade() -> None:
    op.add_column("call", sa.Column("talk", sa.Integer(), nullable=True))
    op.add_column("call", sa.Column("wait", sa.Integer(), nullable=True))
    op.add_column("call", sa.Column("recorded", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(
        f"UPDATE call SET talk = coalesce({_seconds('billsec')}, 0), wait = {_seconds('waittime')}, "  # noqa: S608
        f"recorded = {_has('recording_file')} WHERE ended_on IS NOT NULL"
    )
    op.drop_index("ix_call_project_started", table_name="call")
    op.drop_index("ix_call_project_dst", table_name="call")
    op.create_index(
        "ix_call_project_started", "call", ["project_id", "started_on", *_SHOWN, "extension", "dst", "wait"]
    )
    op.create_index("ix_call_project_dst_started", "call", ["project_id", "dst", "started_on", *_SHOWN, "extension"])
    op.create_index("ix_call_project_extension_started", "call", ["project_id", "extension", "started_on", *_SHOWN])
    rare = sa.text("disposition NOT IN ('', 'ANSWERED', 'NO ANSWER')")
    op.create_index(
        "ix_call_rare_disposition", "call", ["project_id", "disposition", "started_on"], sqlite_where=rare,
        postgresql_where=rare,
    )  # fmt: skip


def downgrade() -> None:
    for name in ("rare_disposition", "project_extension_started", "project_dst_started", "project_started"):
        op.drop_index(f"ix_call_{name}", table_name="call")
    op.create_index("ix_call_project_dst", "call", ["project_id", "dst"])
    op.create_index("ix_call_project_started", "call", ["project_id", "started_on"])
    for name in ("recorded", "wait", "talk"):
        op.drop_column("call", name)


def _seconds(name: str) -> str:
    """The whole number under that name, if it is one that the column can hold."""
    if op.get_bind().dialect.name == "sqlite":
        return (
            f"CASE WHEN json_type(data, '$.{name}') = 'integer' "
            f"THEN max(0, min(json_extract(data, '$.{name}'), 2147483647)) END"
        )
    return (
        f"CASE WHEN data ->> '{name}' ~ '^-?[0-9]{{1,18}}$' AND jsonb_typeof(data -> '{name}') = 'number' "
        f"THEN greatest(0, least((data ->> '{name}')::bigint, 2147483647))::integer END"
    )


def _has(name: str) -> str:
    if op.get_bind().dialect.name == "sqlite":
        return f"coalesce(json_extract(data, '$.{name}'), '') != ''"
    return f"coalesce(data ->> '{name}', '') != ''"
