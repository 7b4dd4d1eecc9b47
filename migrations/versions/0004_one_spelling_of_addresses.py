"""one spelling of every account's e-mail address

Two accounts may turn out to have the same address, which only one of them can keep: full-width letters, or a domain
once in its own script and once in punycode. Nobody knows whether they are one person, so they are not made one account:
one could be of somebody who made a look-alike on purpose. The account that is spelt right already keeps the address,
otherwise the oldest with a password; the other signs in as name+ID@domain from now on (the same mailbox with most
servers), with its own password, projects and second factor. The log names both, and so does the audit log of every
project of the other.
"""

import unicodedata
from datetime import UTC, datetime
from typing import Any

import idna
import sqlalchemy as sa
import structlog
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

log = structlog.get_logger(__name__)
_users = sa.table("user_account", sa.column("id"), sa.column("email"), sa.column("password"))
_members = sa.table("membership", sa.column("project_id"), sa.column("user_id"))
_audit = sa.table(
    "audit_entry", sa.column("project_id"), sa.column("who"), sa.column("action"), sa.column("subject"),
    sa.column("changes", JSON), sa.column("address"), sa.column("created_on", MOMENT),
)  # fmt: skip


def upgrade() -> None:
    connection = op.get_bind()
    users = list(connection.execute(sa.select(_users).order_by(_users.c.id)))
    taken = {user.email for user in users}
    for address, group in _by_address(users).items():
        keeper, *others = sorted(group, key=lambda user: (user.email != address, not user.password, user.id))
        for user in others:
            name, _, domain = address.rpartition("@")
            own = f"{name}+{user.id}@{domain}"
            while own in taken:
                own = f"{name}+{user.id}.{len(taken)}@{domain}"
            taken.add(own)
            _rename(connection, user, own)
            log.warning("two accounts had one address", keeps_it=keeper.id, signs_in_as=own, was=user.email)
        if keeper.email != address:
            _rename(connection, keeper, address)


def downgrade() -> None:
    """Every spelling was accepted before."""


def _by_address(users: list[Any]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for user in users:
        groups.setdefault(_normalised(user.email), []).append(user)
    return groups


def _normalised(text: str) -> str:
    """As account/email_addresses.py had it when this was written; what is no address stays as it is."""
    folded = unicodedata.normalize("NFKC", text).strip().lower()
    local, at, domain = folded.rpartition("@")
    try:
        ascii_domain = idna.encode(domain, uts46=True).decode().lower()
    except idna.IDNAError:
        return folded if at else text
    return f"{local}@{ascii_domain}" if at else text


def _rename(connection: sa.Connection, user: Any, address: str) -> None:
    connection.execute(sa.update(_users).where(_users.c.id == user.id).values(email=address))
    changes = {"e-mail": [user.email, address]}
    for project_id in connection.scalars(sa.select(_members.c.project_id).where(_members.c.user_id == user.id)):
        connection.execute(
            sa.insert(_audit).values(
                project_id=project_id, who="pbxhub", action="member changed", subject=address[:200], changes=changes,
                address="", created_on=_stored(connection, datetime.now(UTC)),
            )
        )  # fmt: skip


def _stored(connection: sa.Connection, moment: datetime) -> datetime | int:
    """As the column has it: microseconds since 1970 on SQLite."""
    return moment if connection.dialect.name == "postgresql" else round(moment.timestamp() * 1_000_000)
