"""every table"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "project",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("webhooks_revision", sa.BigInteger(), nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
    )
    op.create_table(
        "user_account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("password", sa.String(length=255), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("fs_uniquifier", sa.String(length=64), nullable=False),
        sa.Column("tf_primary_method", sa.String(length=40), nullable=True),
        sa.Column("tf_totp_secret", sa.String(length=255), nullable=True),
        sa.Column("recovery_codes", JSON, nullable=False),
        sa.Column("language", sa.String(length=5), nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_account")),
        sa.UniqueConstraint("email", name=op.f("uq_user_account_email")),
        sa.UniqueConstraint("fs_uniquifier", name=op.f("uq_user_account_fs_uniquifier")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.Column("used_on", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_api_key_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_key_key_hash")),
    )
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_api_key_project_id"), ["project_id"], unique=False)

    op.create_table(
        "attributes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.String(length=40), nullable=False),
        sa.Column("valid_from", MOMENT, nullable=False),
        sa.Column("valid_until", MOMENT, nullable=False),
        sa.Column("values", JSON, nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_attributes_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attributes")),
    )
    with op.batch_alter_table("attributes", schema=None) as batch_op:
        batch_op.create_index("ix_attributes_number", ["project_id", "number", "valid_until"], unique=False)

    op.create_table(
        "audit_entry",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("changes", JSON, nullable=False),
        sa.Column("address", sa.String(length=60), nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_audit_entry_project_id_project"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_audit_entry_user_id_user_account"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
    )
    with op.batch_alter_table("audit_entry", schema=None) as batch_op:
        batch_op.create_index("ix_audit_entry_project", ["project_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_entry_user_id"), ["user_id"], unique=False)

    op.create_table(
        "employee",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("extension", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("department", sa.String(length=200), nullable=False),
        sa.Column("crm_id", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_employee_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_employee")),
        sa.UniqueConstraint("project_id", "extension", name=op.f("uq_employee_project_id_extension")),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("call_id", sa.Uuid(), nullable=True),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_event_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index("ix_event_call", ["call_id", "id"], unique=False)
        batch_op.create_index("ix_event_stream", ["project_id", "xid", "id"], unique=False)

    op.create_table(
        "kept_answer",
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", JSON, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_kept_answer_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "key", name=op.f("pk_kept_answer")),
    )
    with op.batch_alter_table("kept_answer", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_kept_answer_created_on"), ["created_on"], unique=False)

    op.create_table(
        "membership",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_membership_project_id_project"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_membership_user_id_user_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_membership")),
        sa.UniqueConstraint("project_id", "user_id", name=op.f("uq_membership_project_id_user_id")),
    )
    with op.batch_alter_table("membership", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_membership_user_id"), ["user_id"], unique=False)

    op.create_table(
        "notice_target",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.String(length=2000), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_notice_target_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice_target")),
    )
    with op.batch_alter_table("notice_target", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_notice_target_project_id"), ["project_id"], unique=False)

    op.create_table(
        "pbx",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(length=100), nullable=False),
        sa.Column("secret_sealed", sa.String(length=1000), nullable=False),
        sa.Column("tls", sa.Boolean(), nullable=False),
        sa.Column("tls_ca", sa.String(), nullable=False),
        sa.Column("plain_login", sa.Boolean(), nullable=False),
        sa.Column("incoming_contexts", JSON, nullable=False),
        sa.Column("cel_path", sa.String(length=1000), nullable=False),
        sa.Column("cel_cursor", sa.BigInteger(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_code", sa.String(length=40), nullable=False),
        sa.Column("state_detail", sa.String(length=500), nullable=False),
        sa.Column("state_since", MOMENT, nullable=True),
        sa.Column("seen_on", MOMENT, nullable=True),
        sa.Column("last_event_on", MOMENT, nullable=True),
        sa.Column("events_last_minute", sa.Integer(), nullable=False),
        sa.Column("hub_address", sa.String(length=60), nullable=False),
        sa.Column("asterisk_version", sa.String(length=100), nullable=False),
        sa.Column("asterisk_started_on", MOMENT, nullable=True),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_pbx_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pbx")),
    )
    with op.batch_alter_table("pbx", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pbx_project_id"), ["project_id"], unique=False)

    op.create_table(
        "resend",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("selection", JSON, nullable=False),
        sa.Column("current_settings", sa.Boolean(), nullable=False),
        sa.Column("rate", sa.Integer(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("queued", sa.BigInteger(), nullable=False),
        sa.Column("skipped", sa.BigInteger(), nullable=False),
        sa.Column("cursor", sa.Uuid(), nullable=True),
        sa.Column("stepped_on", MOMENT, nullable=False),
        sa.Column("author_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["author_id"], ["user_account.id"], name=op.f("fk_resend_author_id_user_account"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_resend_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resend")),
    )
    with op.batch_alter_table("resend", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_resend_author_id"), ["author_id"], unique=False)
        batch_op.create_index("ix_resend_project", ["project_id", "id"], unique=False)
        batch_op.create_index(
            "ix_resend_running",
            ["id"],
            unique=False,
            sqlite_where=sa.text("state = 'running'"),
            postgresql_where=sa.text("state = 'running'"),
        )

    op.create_table(
        "resthook",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_resthook_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resthook")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_resthook_project_id_name")),
    )
    op.create_table(
        "sign_in",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.String(length=60), nullable=False),
        sa.Column("browser", sa.String(length=300), nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.Column("seen_on", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_sign_in_user_id_user_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_sign_in_token_hash")),
    )
    with op.batch_alter_table("sign_in", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sign_in_user_id"), ["user_id"], unique=False)

    op.create_table(
        "webhook",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("stage", sa.String(length=100), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("secret_sealed", sa.String(length=4000), nullable=False),
        sa.Column("tls_key_sealed", sa.String(), nullable=False),
        sa.Column("signing_sealed", sa.String(length=4000), nullable=False),
        sa.Column("paused_on", MOMENT, nullable=True),
        sa.Column("paused_reason", sa.String(length=500), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("failed_on", MOMENT, nullable=True),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.Column("deleted_on", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_webhook_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    with op.batch_alter_table("webhook", schema=None) as batch_op:
        batch_op.create_index(
            "ix_webhook_paused",
            ["id"],
            unique=False,
            sqlite_where=sa.text("paused_on IS NOT NULL"),
            postgresql_where=sa.text("paused_on IS NOT NULL"),
        )
        batch_op.create_index("ix_webhook_project_stage", ["project_id", "stage"], unique=False)

    op.create_table(
        "call",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pbx_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("linkedid", sa.String(length=150), nullable=False),
        sa.Column("direction", sa.String(length=10), nullable=False),
        sa.Column("caller", sa.String(length=80), nullable=False),
        sa.Column("caller_name", sa.String(length=200), nullable=False),
        sa.Column("dst", sa.String(length=80), nullable=False),
        sa.Column("extension", sa.String(length=80), nullable=False),
        sa.Column("started_on", MOMENT, nullable=False),
        sa.Column("answered_on", MOMENT, nullable=True),
        sa.Column("ended_on", MOMENT, nullable=True),
        sa.Column("disposition", sa.String(length=40), nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.Column("answers", JSON, nullable=False),
        sa.Column("memory", JSON, nullable=False),
        sa.ForeignKeyConstraint(["pbx_id"], ["pbx.id"], name=op.f("fk_call_pbx_id_pbx"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_call_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call")),
        sa.UniqueConstraint("pbx_id", "linkedid", name=op.f("uq_call_pbx_id_linkedid")),
    )
    with op.batch_alter_table("call", schema=None) as batch_op:
        batch_op.create_index(
            "ix_call_open",
            ["pbx_id"],
            unique=False,
            sqlite_where=sa.text("ended_on IS NULL"),
            postgresql_where=sa.text("ended_on IS NULL"),
        )
        batch_op.create_index("ix_call_project_caller", ["project_id", "caller"], unique=False)
        batch_op.create_index("ix_call_project_dst", ["project_id", "dst"], unique=False)
        batch_op.create_index("ix_call_project_started", ["project_id", "started_on"], unique=False)

    op.create_table(
        "dial_plan",
        sa.Column("pbx_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("context", sa.String(length=80), nullable=False),
        sa.Column("allowed", JSON, nullable=False),
        sa.Column("at_once", sa.Integer(), nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column("ring_seconds", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["pbx_id"], ["pbx.id"], name=op.f("fk_dial_plan_pbx_id_pbx"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("pbx_id", name=op.f("pk_dial_plan")),
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("webhook_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("text", sa.String(length=1000), nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.Column("due_on", MOMENT, nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("missed", JSON, nullable=True),
        sa.Column("error", sa.String(length=500), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_notice_project_id_project"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhook.id"], name=op.f("fk_notice_webhook_id_webhook"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.create_index(
            "ix_notice_due",
            ["due_on"],
            unique=False,
            sqlite_where=sa.text("due_on IS NOT NULL"),
            postgresql_where=sa.text("due_on IS NOT NULL"),
        )
        batch_op.create_index("ix_notice_project", ["project_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_notice_webhook_id"), ["webhook_id"], unique=False)

    op.create_table(
        "number",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pbx_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("did", sa.String(length=80), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["pbx_id"], ["pbx.id"], name=op.f("fk_number_pbx_id_pbx"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_number_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_number")),
        sa.UniqueConstraint("pbx_id", "did", name=op.f("uq_number_pbx_id_did")),
    )
    with op.batch_alter_table("number", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_number_project_id"), ["project_id"], unique=False)

    op.create_table(
        "subscriber",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("resthook_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("webhook_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("target_url", sa.String(length=8192), nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["resthook_id"], ["resthook.id"], name=op.f("fk_subscriber_resthook_id_resthook"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhook.id"], name=op.f("fk_subscriber_webhook_id_webhook"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriber")),
        sa.UniqueConstraint("webhook_id", name=op.f("uq_subscriber_webhook_id")),
    )
    with op.batch_alter_table("subscriber", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_subscriber_resthook_id"), ["resthook_id"], unique=False)

    op.create_table(
        "webhook_version",
        sa.Column("webhook_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("stage", sa.String(length=100), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("author_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["author_id"],
            ["user_account.id"],
            name=op.f("fk_webhook_version_author_id_user_account"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhook.id"], name=op.f("fk_webhook_version_webhook_id_webhook"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("webhook_id", "revision", name=op.f("pk_webhook_version")),
    )
    with op.batch_alter_table("webhook_version", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_webhook_version_author_id"), ["author_id"], unique=False)

    op.create_table(
        "ordered_call",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pbx_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("mobile_number", sa.String(length=40), nullable=False),
        sa.Column("from_number", sa.String(length=40), nullable=False),
        sa.Column("agent_id", sa.String(length=80), nullable=False),
        sa.Column("callback_url", sa.String(length=8192), nullable=False),
        sa.Column("callback_headers", JSON, nullable=False),
        sa.Column("callback_params", JSON, nullable=False),
        sa.Column("custom", JSON, nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("call_id", sa.Uuid(), nullable=True),
        sa.Column("transcript", JSON, nullable=True),
        sa.Column("analysis", JSON, nullable=True),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.Column("taken_on", MOMENT, nullable=True),
        sa.Column("answered_on", MOMENT, nullable=True),
        sa.Column("ended_on", MOMENT, nullable=True),
        sa.Column("cancel_asked_on", MOMENT, nullable=True),
        sa.Column("cancel_sent_on", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["call_id"], ["call.id"], name=op.f("fk_ordered_call_call_id_call"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["pbx_id"], ["pbx.id"], name=op.f("fk_ordered_call_pbx_id_pbx"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_ordered_call_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ordered_call")),
    )
    with op.batch_alter_table("ordered_call", schema=None) as batch_op:
        batch_op.create_index("ix_ordered_call_call", ["call_id"], unique=False)
        batch_op.create_index(
            "ix_ordered_call_open",
            ["pbx_id"],
            unique=False,
            sqlite_where=sa.text("status IN ('registered', 'ongoing')"),
            postgresql_where=sa.text("status IN ('registered', 'ongoing')"),
        )
        batch_op.create_index("ix_ordered_call_project", ["project_id", "id"], unique=False)

    op.create_table(
        "stage_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("call_id", sa.Uuid(), nullable=True),
        sa.Column("stage", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["call.id"], name=op.f("fk_stage_event_call_id_call"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_stage_event_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_event")),
        sa.UniqueConstraint("call_id", "stage", "key", name=op.f("uq_stage_event_call_id_stage_key")),
    )
    with op.batch_alter_table("stage_event", schema=None) as batch_op:
        batch_op.create_index(
            "ix_stage_event_other",
            ["project_id", "stage", "key"],
            unique=True,
            sqlite_where=sa.text("call_id IS NULL"),
            postgresql_where=sa.text("call_id IS NULL"),
        )
        batch_op.create_index("ix_stage_event_recent", ["project_id", "stage", "id"], unique=False)

    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("webhook_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("webhook_revision", sa.Integer(), nullable=False),
        sa.Column("stage_event_id", sa.Uuid(), nullable=True),
        sa.Column("call_id", sa.Uuid(), nullable=True),
        sa.Column("sequence_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("claim_token", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("out_of_order", sa.Boolean(), nullable=False),
        sa.Column("resend_id", sa.Uuid(), nullable=True),
        sa.Column("method", sa.String(length=10), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("headers", JSON, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("message", sa.String(length=1000), nullable=False),
        sa.Column("status_code", sa.SmallInteger(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("created_on", MOMENT, nullable=False),
        sa.Column("finished_on", MOMENT, nullable=True),
        sa.Column("checked_on", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["call_id"], ["call.id"], name=op.f("fk_delivery_call_id_call"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_delivery_project_id_project"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["resend_id"], ["resend.id"], name=op.f("fk_delivery_resend_id_resend"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["stage_event_id"],
            ["stage_event.id"],
            name=op.f("fk_delivery_stage_event_id_stage_event"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhook.id"], name=op.f("fk_delivery_webhook_id_webhook"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "stage_event_id", "webhook_id", "kind", name=op.f("uq_delivery_stage_event_id_webhook_id_kind")
        ),
    )
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.create_index(
            "ix_delivery_before",
            ["sequence_id"],
            unique=False,
            sqlite_where=sa.text("state = 'pending' AND outcome = ''"),
            postgresql_where=sa.text("state = 'pending' AND outcome = ''"),
        )
        batch_op.create_index("ix_delivery_call", ["call_id"], unique=False)
        batch_op.create_index(
            "ix_delivery_claimed",
            ["webhook_id", "due_at"],
            unique=False,
            sqlite_where=sa.text("claim_token IS NOT NULL"),
            postgresql_where=sa.text("claim_token IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_delivery_due",
            ["lane", "webhook_id", "due_at"],
            unique=False,
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )
        batch_op.create_index(
            "ix_delivery_held",
            ["sequence_id"],
            unique=False,
            sqlite_where=sa.text("held"),
            postgresql_where=sa.text("held"),
        )
        batch_op.create_index("ix_delivery_project", ["project_id", "id"], unique=False)
        batch_op.create_index(
            "ix_delivery_resend",
            ["resend_id"],
            unique=False,
            sqlite_where=sa.text("resend_id IS NOT NULL"),
            postgresql_where=sa.text("resend_id IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_delivery_reason",
            ["project_id", "outcome", "id"],
            unique=False,
            sqlite_where=sa.text("outcome <> '' AND outcome <> 'ok'"),
            postgresql_where=sa.text("outcome <> '' AND outcome <> 'ok'"),
        )
        batch_op.create_index(
            "ix_delivery_unchecked",
            ["project_id", "id"],
            unique=False,
            sqlite_where=sa.text("state = 'failed' AND checked_on IS NULL"),
            postgresql_where=sa.text("state = 'failed' AND checked_on IS NULL"),
        )
        batch_op.create_index("ix_delivery_webhook", ["webhook_id", "id"], unique=False)

    op.create_table(
        "attempt",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_on", MOMENT, nullable=False),
        sa.Column("finished_on", MOMENT, nullable=True),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("message", sa.String(length=1000), nullable=False),
        sa.Column("status_code", sa.SmallInteger(), nullable=True),
        sa.Column("dns_us", sa.BigInteger(), nullable=True),
        sa.Column("connect_us", sa.BigInteger(), nullable=True),
        sa.Column("tls_us", sa.BigInteger(), nullable=True),
        sa.Column("first_byte_us", sa.BigInteger(), nullable=True),
        sa.Column("total_us", sa.BigInteger(), nullable=True),
        sa.Column("peer", sa.String(length=60), nullable=False),
        sa.Column("tls_version", sa.String(length=20), nullable=False),
        sa.Column("request_headers", JSON, nullable=False),
        sa.Column("response_headers", JSON, nullable=False),
        sa.Column("response_body", sa.LargeBinary(), nullable=False),
        sa.Column("response_truncated", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["delivery.id"], name=op.f("fk_attempt_delivery_id_delivery"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("pk_attempt")),
    )
    op.create_table(
        "question",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.SmallInteger(), nullable=False),
        sa.Column("steps", JSON, nullable=False),
        sa.Column("pbx_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("linkedid", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["delivery.id"], name=op.f("fk_question_delivery_id_delivery"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["pbx_id"], ["pbx.id"], name=op.f("fk_question_pbx_id_pbx"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_question")),
    )
    with op.batch_alter_table("question", schema=None) as batch_op:
        batch_op.create_index(
            "ix_question_unlinked",
            ["pbx_id", "linkedid"],
            unique=False,
            sqlite_where=sa.text("linkedid <> ''"),
            postgresql_where=sa.text("linkedid <> ''"),
        )


def downgrade() -> None:
    with op.batch_alter_table("question", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_question_unlinked",
            sqlite_where=sa.text("linkedid <> ''"),
            postgresql_where=sa.text("linkedid <> ''"),
        )

    op.drop_table("question")
    op.drop_table("attempt")
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.drop_index("ix_delivery_webhook")
        batch_op.drop_index(
            "ix_delivery_unchecked",
            sqlite_where=sa.text("state = 'failed' AND checked_on IS NULL"),
            postgresql_where=sa.text("state = 'failed' AND checked_on IS NULL"),
        )
        batch_op.drop_index(
            "ix_delivery_resend",
            sqlite_where=sa.text("resend_id IS NOT NULL"),
            postgresql_where=sa.text("resend_id IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_delivery_reason",
            sqlite_where=sa.text("outcome <> '' AND outcome <> 'ok'"),
            postgresql_where=sa.text("outcome <> '' AND outcome <> 'ok'"),
        )
        batch_op.drop_index("ix_delivery_project")
        batch_op.drop_index("ix_delivery_held", sqlite_where=sa.text("held"), postgresql_where=sa.text("held"))
        batch_op.drop_index(
            "ix_delivery_due", sqlite_where=sa.text("state = 'pending'"), postgresql_where=sa.text("state = 'pending'")
        )
        batch_op.drop_index(
            "ix_delivery_claimed",
            sqlite_where=sa.text("claim_token IS NOT NULL"),
            postgresql_where=sa.text("claim_token IS NOT NULL"),
        )
        batch_op.drop_index("ix_delivery_call")
        batch_op.drop_index(
            "ix_delivery_before",
            sqlite_where=sa.text("state = 'pending' AND outcome = ''"),
            postgresql_where=sa.text("state = 'pending' AND outcome = ''"),
        )

    op.drop_table("delivery")
    with op.batch_alter_table("stage_event", schema=None) as batch_op:
        batch_op.drop_index("ix_stage_event_recent")
        batch_op.drop_index(
            "ix_stage_event_other", sqlite_where=sa.text("call_id IS NULL"), postgresql_where=sa.text("call_id IS NULL")
        )

    op.drop_table("stage_event")
    with op.batch_alter_table("ordered_call", schema=None) as batch_op:
        batch_op.drop_index("ix_ordered_call_project")
        batch_op.drop_index(
            "ix_ordered_call_open",
            sqlite_where=sa.text("status IN ('registered', 'ongoing')"),
            postgresql_where=sa.text("status IN ('registered', 'ongoing')"),
        )
        batch_op.drop_index("ix_ordered_call_call")

    op.drop_table("ordered_call")
    with op.batch_alter_table("webhook_version", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_webhook_version_author_id"))

    op.drop_table("webhook_version")
    with op.batch_alter_table("subscriber", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_subscriber_resthook_id"))

    op.drop_table("subscriber")
    with op.batch_alter_table("number", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_number_project_id"))

    op.drop_table("number")
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_notice_webhook_id"))
        batch_op.drop_index("ix_notice_project")
        batch_op.drop_index(
            "ix_notice_due", sqlite_where=sa.text("due_on IS NOT NULL"), postgresql_where=sa.text("due_on IS NOT NULL")
        )

    op.drop_table("notice")
    op.drop_table("dial_plan")
    with op.batch_alter_table("call", schema=None) as batch_op:
        batch_op.drop_index("ix_call_project_started")
        batch_op.drop_index("ix_call_project_dst")
        batch_op.drop_index("ix_call_project_caller")
        batch_op.drop_index(
            "ix_call_open", sqlite_where=sa.text("ended_on IS NULL"), postgresql_where=sa.text("ended_on IS NULL")
        )

    op.drop_table("call")
    with op.batch_alter_table("webhook", schema=None) as batch_op:
        batch_op.drop_index("ix_webhook_project_stage")
        batch_op.drop_index(
            "ix_webhook_paused",
            sqlite_where=sa.text("paused_on IS NOT NULL"),
            postgresql_where=sa.text("paused_on IS NOT NULL"),
        )

    op.drop_table("webhook")
    with op.batch_alter_table("sign_in", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sign_in_user_id"))

    op.drop_table("sign_in")
    op.drop_table("resthook")
    with op.batch_alter_table("resend", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_resend_running",
            sqlite_where=sa.text("state = 'running'"),
            postgresql_where=sa.text("state = 'running'"),
        )
        batch_op.drop_index("ix_resend_project")
        batch_op.drop_index(batch_op.f("ix_resend_author_id"))

    op.drop_table("resend")
    with op.batch_alter_table("pbx", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_pbx_project_id"))

    op.drop_table("pbx")
    with op.batch_alter_table("notice_target", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_notice_target_project_id"))

    op.drop_table("notice_target")
    with op.batch_alter_table("membership", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_membership_user_id"))

    op.drop_table("membership")
    with op.batch_alter_table("kept_answer", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_kept_answer_created_on"))

    op.drop_table("kept_answer")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index("ix_event_stream")
        batch_op.drop_index("ix_event_call")

    op.drop_table("event")
    op.drop_table("employee")
    with op.batch_alter_table("audit_entry", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_entry_user_id"))
        batch_op.drop_index("ix_audit_entry_project")

    op.drop_table("audit_entry")
    with op.batch_alter_table("attributes", schema=None) as batch_op:
        batch_op.drop_index("ix_attributes_number")

    op.drop_table("attributes")
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_api_key_project_id"))

    op.drop_table("api_key")
    op.drop_table("user_account")
    op.drop_table("project")
