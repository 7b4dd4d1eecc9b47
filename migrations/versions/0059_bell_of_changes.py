"""PostgreSQL rings a bell when a row is changed that listeners and workers keep in memory, or that gives a background
job work: whoever changed it, and however. What the hub itself writes all the time (a PBX was seen, a webhook failed)
rings no bell. pbxhub/delivery/wakeup.py listens."""

from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None

_CHANGES = {
    "project": "UPDATE",
    "pbx": (
        "UPDATE OF project_id, name, host, port, any_network, username, secret_sealed, tls, tls_ca, plain_login, "
        "incoming_contexts, charset, salt, cel_path, cel_url_sealed, recordings, enabled"
    ),
    "number": "UPDATE",
    "employee": "UPDATE",
    "webhook": "UPDATE OF project_id, stage, enabled, deleted_on",
    "connection": "UPDATE OF renew_on, renewing_until",
    "resend": "UPDATE OF state",
    "notice": "UPDATE OF due_on",
}


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":  # it tells of every write
        return
    op.execute(
        "CREATE FUNCTION pbxhub_changed() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NOTIFY pbxhub_changed; RETURN NULL; END $$"
    )
    for table, update in _CHANGES.items():
        op.execute(
            f"CREATE TRIGGER pbxhub_changed AFTER INSERT OR DELETE OR {update} ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION pbxhub_changed()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return
    for table in _CHANGES:
        op.execute(f"DROP TRIGGER pbxhub_changed ON {table}")
    op.execute("DROP FUNCTION pbxhub_changed()")
