"""Connections as the workers need them: with the credentials that a request may carry."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from sqlalchemy import JSON, select, type_coerce
from sqlalchemy.orm import Session

from pbxhub.store.bulk import Query
from pbxhub.store.columns import one_of
from pbxhub.store.connections import Connection
from pbxhub.vault import Vault, VaultError
from pbxhub.webhooks.connection_spec import ConnectionSpec, load_connection


@dataclass(frozen=True, slots=True)
class OAuthTokens:
    """What a provider has granted. refresh: "" when it gave none."""

    access: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)


def seal_tokens(vault: Vault, tokens: OAuthTokens) -> str:
    """The text of Connection.tokens_sealed; "" for no tokens."""
    if tokens == OAuthTokens():
        return ""
    return vault.seal(json.dumps({"access": tokens.access, "refresh": tokens.refresh}))


@lru_cache(maxsize=3000)  # decrypting derives a key, 0.1 ms: too much for every request of a busy webhook
def open_secret(vault: Vault, sealed: str) -> str:
    """What was sealed. Raises VaultError."""
    return vault.open(sealed)


@lru_cache(maxsize=1000)
def open_tokens(vault: Vault, sealed: str) -> OAuthTokens:
    """The inverse of seal_tokens. Raises VaultError."""
    return OAuthTokens(**json.loads(vault.open(sealed))) if sealed else OAuthTokens()


@dataclass(frozen=True, slots=True)
class LiveConnection:
    """A connection at one version of its settings and tokens."""

    id: int
    name: str
    version: int
    spec: ConnectionSpec
    secret_sealed: str
    tokens_sealed: str
    ready_until: datetime | None
    renewed_on: datetime | None
    reason: str

    def is_ready(self, now: datetime) -> bool:
        return self.ready_until is not None and self.ready_until > now

    def renews_itself(self, vault: Vault) -> bool:
        """Whether the hub can fetch another token without a person."""
        oauth = self.spec.oauth
        if self.spec.kind != "oauth2" or oauth is None:
            return False
        if oauth.grant in ("client_credentials", "jwt_bearer"):
            return True
        try:
            return bool(open_tokens(vault, self.tokens_sealed).refresh)
        except VaultError:
            return False

    def credential(self, vault: Vault) -> str:
        """What a request carries, in the place that spec.auth names. Raises VaultError."""
        if self.spec.kind == "oauth2":
            return self.spec.carried(open_tokens(vault, self.tokens_sealed).access)
        return self.spec.carried(open_secret(vault, self.secret_sealed))


_CONNECTIONS = Query(
    select(
        Connection.id, Connection.name, Connection.version, type_coerce(Connection.spec, JSON).label("spec"),
        Connection.secret_sealed, Connection.tokens_sealed, Connection.ready_until, Connection.renewed_on,
        Connection.reason,
    ).where(one_of(Connection.id, "ids"))
)  # fmt: skip


def read_connections(session: Session, ids: Collection[int]) -> dict[int, LiveConnection]:
    """These connections, by id."""
    rows = _CONNECTIONS.all(session, ids=list(ids)) if ids else []
    return {row.id: live_connection(row) for row in rows}


def live_connection(row: Connection) -> LiveConnection:
    """A row as it is now."""
    spec = row.spec if isinstance(row.spec, ConnectionSpec) else load_connection(row.spec)
    return LiveConnection(
        row.id, row.name, row.version, spec, row.secret_sealed, row.tokens_sealed, row.ready_until, row.renewed_on,
        row.reason,
    )  # fmt: skip
