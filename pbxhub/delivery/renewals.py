"""Renews the tokens of connections: before they end, after a 401, and when a user asks for it.

store/connections.py says in which order things happen, and what a killed process leaves behind.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.live_connections import OAuthTokens, open_tokens, seal_tokens
from pbxhub.sending.address_guard import NetworkGrant, read_grant
from pbxhub.sending.oauth_tokens import DEADLINE, Granted, Provider, TokenRefused, fetch_again
from pbxhub.sending.sender import Sender
from pbxhub.storable import clip
from pbxhub.store.accounts import Project, lock_project
from pbxhub.store.connections import FOREVER, READY, REFUSED, Connection
from pbxhub.store.ids import new_id
from pbxhub.store.notices import CONNECTION_REFUSED, Notice
from pbxhub.store.webhooks import touch_webhooks
from pbxhub.translatable import say
from pbxhub.vault import VaultError
from pbxhub.webhooks.connection_spec import OAuth

MOST_AT_ONCE = 8
LEASE = timedelta(seconds=DEADLINE + 20)  # after this long without a result, another process renews
EARLY = 0.8  # of its life, after which a token is renewed
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=5)  # between tries, while the provider is away
_UNREADABLE = say("Its secret cannot be decrypted: it was encrypted with another PBXHUB_SECRET_KEY. Enter it again.")
_CRASHED = say("The hub was stopped while it renewed the token, so the newest refresh token may be lost.")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Renewal:
    """One connection that this process renews. mark: of its lease. taken_over: another process began and was lost."""

    id: int
    project_id: int
    name: str
    version: int
    oauth: OAuth
    secret_sealed: str
    tokens_sealed: str
    networks: NetworkGrant
    mark: UUID
    began_on: datetime
    taken_over: bool


class RenewalMetrics:
    """pbxhub_token_renewals_total, by result: granted, refused, or away (the provider did not answer)."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        own = registry or CollectorRegistry()
        self._ended = Counter("pbxhub_token_renewals", "Renewals of tokens of connections", ["result"], registry=own)

    def ended(self, found: Granted | TokenRefused) -> None:
        self._ended.labels("granted" if isinstance(found, Granted) else "away" if found.passing else "refused").inc()


def renew_due(context: DeliveryContext, sender: Sender, now: datetime, metrics: RenewalMetrics) -> int:
    """Renews the tokens that are due, some at a time. Returns how many were asked for."""
    return len(_renew(context, sender, now, Connection.renew_on <= now, metrics.ended))


def some_due_tokens(now: datetime) -> ColumnElement[bool]:
    """Whether renew_due has work."""
    return exists().where(Connection.renew_on <= now, _is_free(now))


def renew_now(context: DeliveryContext, sender: Sender, connection_id: int, now: datetime) -> None:
    """Renews one token at a user's request, unless another process is just doing it."""
    _renew(context, sender, now, Connection.id == connection_id, lambda _found: None)


def store_granted(
    context: DeliveryContext, session: Session, row: Connection, granted: Granted, asked_on: datetime
) -> None:
    """Stores new tokens; what has waited for them is sent after the caller's commit.

    A token of unknown life is used until a receiver refuses it. asked_on: the life of a token counts from the request,
    not from the answer.
    """
    try:
        kept = open_tokens(context.vault, row.tokens_sealed).refresh
    except VaultError:
        kept = ""
    row.tokens_sealed = seal_tokens(context.vault, OAuthTokens(granted.access, granted.refresh or kept))
    row.version += 1
    row.state, row.reason, row.failures = READY, "", 0
    row.renewed_on, row.ready_until, row.renew_on = asked_on, FOREVER, None
    if granted.lasts is not None:
        row.ready_until = asked_on + timedelta(seconds=granted.lasts)
        row.renew_on = asked_on + timedelta(seconds=granted.lasts * EARLY)
    row.renewing = row.renewing_until = None
    session.flush()
    touch_webhooks(session, row.project_id)
    context.wakeups.send(session)


def _is_free(now: datetime) -> ColumnElement[bool]:
    return or_(Connection.renewing_until.is_(None), Connection.renewing_until <= now)


def _renew(
    context: DeliveryContext, sender: Sender, now: datetime, which: ColumnElement[bool],
    ended: Callable[[Granted | TokenRefused], None],
) -> list[_Renewal]:  # fmt: skip
    with context.database.write() as session:
        taken = _take(session, which, now)
    if not taken:
        return []

    def renew(one: _Renewal) -> None:
        found = _ask(context, sender, one)
        ended(found)
        with context.database.write() as session:
            _store(context, session, one, found)

    with ThreadPoolExecutor(MOST_AT_ONCE, "renewals") as threads:
        for _done in threads.map(renew, taken):  # raises what a renewal has raised; its lease ends by itself
            pass
    return taken


def _take(session: Session, which: ColumnElement[bool], now: datetime) -> list[_Renewal]:
    """Leases connections for this process. A row that is locked is being taken or changed by another one."""
    rows = session.execute(
        select(Connection, Project.webhook_networks)
        .join(Project, Project.id == Connection.project_id)
        .where(which, _is_free(now))
        .order_by(Connection.id)
        .limit(MOST_AT_ONCE)
        .with_for_update(skip_locked=True, of=Connection)
    )
    return [_lease(row, read_grant(networks), now) for row, networks in rows if row.spec.oauth]


def _lease(row: Connection, networks: NetworkGrant, now: datetime) -> _Renewal:
    taken_over, row.renewing, row.renewing_until = row.renewing is not None, new_id(), now + LEASE
    return _Renewal(
        row.id, row.project_id, row.name, row.version, row.spec.oauth or OAuth(), row.secret_sealed, row.tokens_sealed,
        networks, row.renewing, now, taken_over,
    )  # fmt: skip


def _ask(context: DeliveryContext, sender: Sender, one: _Renewal) -> Granted | TokenRefused:
    """Outside any transaction: the provider may take seconds."""
    try:
        provider = Provider(one.oauth, context.vault.open(one.secret_sealed), one.networks)
        refresh = open_tokens(context.vault, one.tokens_sealed).refresh
    except VaultError:
        return TokenRefused(_UNREADABLE, False)
    found = fetch_again(sender, provider, refresh, context.links.consent_callback, one.began_on)
    if isinstance(found, TokenRefused) and not found.passing and one.taken_over:
        return TokenRefused(say("%(what)s %(more)s", what=found.sentence, more=_CRASHED), False)
    return found


def _store(context: DeliveryContext, session: Session, one: _Renewal, found: Granted | TokenRefused) -> None:
    """What came of it, unless the connection was changed meanwhile.

    A new name, test address or secret is no such change: the provider may have rotated the refresh token, and the new
    one must not be lost. Only a refusal of a secret that has been entered anew since says nothing.

    A process that stood still for longer than its lease: 1. A asks, and stands still; 2. its lease ends, B asks with
    the same refresh token, which A's request has used up, and is refused; 3. A wakes with the new tokens. They are
    stored, because nothing newer is there; a refusal of A would be dropped, because the lease is no longer its own.
    """
    lock_project(session, one.project_id)  # touch_webhooks changes it, and others lock it first
    row = session.get(Connection, one.id, with_for_update={"key_share": True}, populate_existing=True)
    if row is None or row.version != one.version:
        return
    if isinstance(found, Granted):
        store_granted(context, session, row, found, one.began_on)
        log.info("token renewed", connection=one.id, project=one.project_id)
        return
    if row.renewing != one.mark:
        return
    row.renewing = row.renewing_until = None
    if row.secret_sealed == one.secret_sealed:  # otherwise renew_on is still in the past
        _note_refusal(session, row, one, found)


def _note_refusal(session: Session, row: Connection, one: _Renewal, found: TokenRefused) -> None:
    row.reason = clip(found.sentence, 1000)
    if found.passing:
        row.failures += 1
        wait = min(_FIRST_WAIT * 2 ** min(row.failures - 1, 10), _LONGEST_WAIT)
        row.renew_on = one.began_on + wait
    else:
        if row.state != REFUSED:
            _tell(session, row, one.began_on)
        row.state, row.renew_on = REFUSED, None
    log.warning("token not renewed", connection=one.id, project=one.project_id, why=found.sentence)
    touch_webhooks(session, row.project_id)


def _tell(session: Session, row: Connection, now: datetime) -> None:
    sentence = f"The connection {row.name} has lost its token. {row.reason} Its deliveries wait until you reconnect it."
    session.add(
        Notice(
            id=new_id(), project_id=row.project_id, kind=CONNECTION_REFUSED, text=clip(sentence, 1000), created_on=now,
            due_on=now,
        )
    )  # fmt: skip
