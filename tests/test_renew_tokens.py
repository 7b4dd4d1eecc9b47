"""Tokens of a connection end, are renewed, refused, rotated and lost; its deliveries wait, and none is lost."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import abort, request
from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlalchemy import select

from pbxhub.delivery.live_connections import OAuthTokens, open_tokens, seal_tokens
from pbxhub.delivery.outbox import publish
from pbxhub.delivery.renewals import LEASE, RenewalMetrics, renew_due
from pbxhub.sending.address_guard import AddressGuard, endpoints
from pbxhub.sending.exchange import Answer
from pbxhub.sending.oauth_tokens import DEADLINE
from pbxhub.sending.sender import Sender
from pbxhub.store.connections import FOREVER, NEW, READY, REFUSED, Connection
from pbxhub.store.notices import Notice
from pbxhub.store.session import Database
from pbxhub.store.webhooks import touch_webhooks
from pbxhub.webhooks.connection_spec import ConnectionSpec, OAuth
from pbxhub.webhooks.spec import Auth, RequestSpec
from tests.support.connections import connect, using
from tests.support.oauth_server import CLIENT, SECRET, OAuthServer, Token, oauth_server
from tests.support.outbox_world import (
    AFTER,
    FORWARD,
    NOON,
    VAULT,
    World,
    context_of,
    finish,
    forward,
    report,
    spec,
    take,
)
from tests.support.waiting import wait_until
from tests.support.working import states, working

LONG_AGO = timedelta(hours=2)
ROOT = Path(__file__).parents[1]


@pytest.fixture
def provider() -> Iterator[OAuthServer]:
    with oauth_server() as server:
        yield server


def crm(provider: OAuthServer, grant: Any = "client_credentials", **more: Any) -> ConnectionSpec:
    oauth = OAuth(grant, f"{provider.url}/authorize", f"{provider.url}/token", CLIENT, "calls", **more)
    return ConnectionSpec("oauth2", (provider.url,), oauth=oauth)


def add(world: World, what: ConnectionSpec, secret: str = SECRET, refresh: str = "", **columns: Any) -> int:
    sealed = seal_tokens(VAULT, OAuthTokens("", refresh))
    fresh = {"state": NEW, "ready_until": None, "renew_on": datetime.now(UTC), "tokens_sealed": sealed}
    return connect(world, what, secret, **{**fresh, **columns})


def row_of(database: Database, connection_id: int) -> Connection:
    with database.read() as session:
        return session.get_one(Connection, connection_id)


def tokens(database: Database, connection_id: int) -> OAuthTokens:
    return open_tokens(VAULT, row_of(database, connection_id).tokens_sealed)


@contextmanager
def sender_to(provider: OAuthServer) -> Iterator[Sender]:
    sender = Sender(AddressGuard(allowed_endpoints=endpoints("127.0.0.1", provider.port)))
    yield sender
    sender.close()


def renew(database: Database, provider: OAuthServer, at: datetime | None = None) -> int:
    with sender_to(provider) as sender:
        return renew_due(context_of(database), sender, at or datetime.now(UTC), RenewalMetrics())


def ring(world: World, linkedid: str = "1.1") -> None:
    publish(context_of(world.database), {world.pbx_id: [report(linkedid, AFTER)]}, datetime.now(UTC))


def test_deliveries_wait_for_the_first_token_and_go_with_it(database: Database, provider: OAuthServer) -> None:
    world = World(database)
    connection = add(world, crm(provider))
    using(world, connection, f"{provider.url}/api/calls")
    ring(world)
    with working(database, provider):
        assert states(world) == {"pending"}
        assert renew(database, provider) == 1
        wait_until(lambda: states(world) == {"delivered"})
    row = row_of(database, connection)
    assert (row.state, row.renewing, provider.asked) == (READY, None, ["client_credentials"])
    assert row.ready_until is not None
    assert row.renew_on is not None
    assert timedelta(seconds=3590) < row.ready_until - datetime.now(UTC) <= timedelta(seconds=3600)
    assert row.ready_until - row.renew_on == timedelta(seconds=720)
    assert "acc3ss" not in f"{world.attempts(world.deliveries()[0])[0].request_headers}"


def test_a_token_is_renewed_before_it_ends_and_a_rotated_refresh_token_is_kept(
    database: Database, provider: OAuthServer
) -> None:
    connection, first = _connected(World(database), provider)
    assert renew(database, provider, datetime.now(UTC) + timedelta(minutes=40)) == 0
    assert renew(database, provider, datetime.now(UTC) + timedelta(minutes=49)) == 1
    second = tokens(database, connection)
    assert second.access != first.access
    assert second.refresh not in ("", first.refresh)
    assert renew(database, provider, datetime.now(UTC) + timedelta(minutes=99)) == 1
    assert tokens(database, connection).refresh not in ("", second.refresh)
    assert row_of(database, connection).version == 4


def robot_of(provider: OAuthServer) -> str:
    """The file of a service account that the provider knows."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    provider.public_key = RSAKey.import_key(key.public_key())
    return json.dumps({"client_email": "robot@example.com", "private_key": pem})


@pytest.mark.slow
def test_a_service_account_signs_with_its_key(database: Database, provider: OAuthServer) -> None:
    connection = add(World(database), crm(provider, "jwt_bearer"), robot_of(provider))
    assert renew(database, provider) == 1
    row = row_of(database, connection)
    assert (row.state, row.reason) == (READY, "")
    assert tokens(database, connection).access.startswith("acc3ss")


@pytest.mark.slow
def test_a_service_account_of_a_host_that_is_ahead_signs_by_the_clock_of_the_hub(
    database: Database, provider: OAuthServer
) -> None:
    asked_on, signed = datetime.now(UTC) - timedelta(seconds=90), []
    provider.before_work = lambda: signed.append(request.form["assertion"])
    add(World(database), crm(provider, "jwt_bearer"), robot_of(provider), renew_on=asked_on)
    assert renew(database, provider, asked_on) == 1
    claims = jwt.decode(signed[0], provider.public_key).claims
    assert (claims["iat"], claims["exp"] - claims["iat"]) == (int(asked_on.timestamp()), 300)


@pytest.mark.slow
def test_a_refusal_has_the_words_of_the_provider_and_pauses_nothing_but_the_connection(
    database: Database, provider: OAuthServer
) -> None:
    world = World(database)
    connection, _first = _connected(world, provider)
    using(world, connection, f"{provider.url}/api/calls")
    provider.revoke_all()
    assert renew(database, provider, datetime.now(UTC) + timedelta(minutes=49)) == 1
    row = row_of(database, connection)
    assert (row.state, row.renew_on, row.renewing) == (REFUSED, None, None)
    assert row.reason.startswith("The provider refused: invalid_grant")
    with database.read() as session:
        told = session.scalars(select(Notice)).one()
    assert (told.kind, "lost its token" in told.text) == ("connection_refused", True)
    assert "r3fresh" not in told.text + row.reason
    _end_token(database, connection)
    ring(world)
    with working(database, provider) as worker:
        wait_until(lambda: worker.in_flight == 0)
        assert states(world) == {"pending"}
        _reconnect(database, provider, connection)
        wait_until(lambda: states(world) == {"delivered"})
    assert renew(database, provider) == 0


@pytest.mark.slow
def test_a_connection_is_used_until_its_token_ends_though_the_provider_refuses_the_next(
    database: Database, provider: OAuthServer
) -> None:
    world = World(database)
    connection, _first = _connected(world, provider)
    using(world, connection, f"{provider.url}/api/calls")
    for token in provider.tokens:
        token.used_up = True
    renew(database, provider, datetime.now(UTC) + timedelta(minutes=49))
    assert row_of(database, connection).state == REFUSED
    ring(world)
    with working(database, provider):
        wait_until(lambda: states(world) == {"delivered"})


@pytest.mark.slow
def test_a_provider_that_is_down_is_asked_again_and_nothing_is_refused(
    database: Database, provider: OAuthServer
) -> None:
    connection, first = _connected(World(database), provider)
    provider.down = True
    now = datetime.now(UTC) + timedelta(minutes=49)
    waits = []
    for _ in range(9):
        assert renew(database, provider, now) == 1
        row = row_of(database, connection)
        assert (row.state, row.renewing) == (READY, None)
        assert row.renew_on is not None
        waits.append((row.renew_on - now).total_seconds())
        now = row.renew_on
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert "status 503" in row_of(database, connection).reason
    provider.down = False
    assert renew(database, provider, now) == 1
    row = row_of(database, connection)
    assert (row.failures, row.reason) == (0, "")
    assert tokens(database, connection).refresh != first.refresh


@pytest.mark.slow
def test_a_401_has_the_token_renewed_and_the_request_sent_again_once(database: Database, provider: OAuthServer) -> None:
    world = World(database)
    connection, _first = _connected(world, provider)
    using(world, connection, f"{provider.url}/api/calls")
    _renewed_long_ago(database, connection)
    provider.revoke_access()
    ring(world)
    with working(database, provider):
        wait_until(lambda: _outcomes(world) == ["token_expired"])
        assert row_of(database, connection).ready_until is None
        assert renew(database, provider) == 1
        wait_until(lambda: states(world) == {"delivered"})
    delivery = world.deliveries()[0]
    assert [one.outcome for one in world.attempts(delivery)] == ["token_expired", "ok"]
    assert (delivery.tries, delivery.lane) == (1, 1)


def test_the_stages_of_a_call_keep_their_order_when_the_token_ends_between_them(
    database: Database, provider: OAuthServer
) -> None:
    world = World(database)
    connection, _first = _connected(world, provider)
    request = RequestSpec(url=f"{provider.url}/api/<<forward_to>>", auth=Auth("connection", name="CRM"))
    world.webhook(FORWARD, spec(request=request), connection_id=connection)
    _renewed_long_ago(database, connection)
    provider.revoke_access()
    with working(database, provider):
        publish(context_of(database), {world.pbx_id: [report("1.1", forward("101"))]}, datetime.now(UTC))
        wait_until(lambda: "token_expired" in _outcomes(world))
        publish(context_of(database), {world.pbx_id: [report("1.1", forward("102", 2))]}, datetime.now(UTC))
        assert renew(database, provider) == 1
        wait_until(lambda: states(world) == {"delivered"})
    assert provider.served == ["101", "102"]
    assert [(row.tries, row.out_of_order) for row in world.deliveries()] == [(1, False)] * 2


def _outcomes(world: World) -> list[str]:
    return [attempt.outcome for row in world.deliveries() for attempt in world.attempts(row)]


def test_a_401_to_a_fresh_token_is_a_failure_like_any_other(database: Database, provider: OAuthServer) -> None:
    """Otherwise a webhook without the right would have the token of all others renewed with each call."""
    world = World(database)
    connection, _first = _connected(world, provider)
    using(world, connection, f"{provider.url}/api/calls")
    provider.revoke_access()
    ring(world)
    with working(database, provider):
        wait_until(lambda: states(world) == {"failed"})
    assert world.deliveries()[0].outcome == "http_4xx"
    assert row_of(database, connection).ready_until is not None


def test_a_401_to_a_token_that_only_a_person_can_renew_is_a_failure_of_its_webhook_alone(
    database: Database, provider: OAuthServer
) -> None:
    """One wrong address would otherwise stop all webhooks of the connection until somebody connects it again."""
    world = World(database)
    connection = add(
        world, crm(provider, "authorization_code"), tokens_sealed=seal_tokens(VAULT, OAuthTokens("acc3ss-1")),
        state=READY, ready_until=FOREVER, renew_on=None, renewed_on=datetime.now(UTC) - LONG_AGO,
    )  # fmt: skip
    using(world, connection, f"{provider.url}/api/calls")
    ring(world)
    with working(database, provider):
        wait_until(lambda: states(world) == {"failed"})
    assert _outcomes(world) == ["http_4xx"]
    row = row_of(database, connection)
    assert (row.state, row.ready_until, row.renew_on) == (READY, FOREVER, None)


@pytest.mark.slow
def test_a_401_that_comes_after_the_renewal_is_sent_again_with_the_new_token(
    database: Database, provider: OAuthServer
) -> None:
    """The request was in flight with the old one."""

    world = World(database)
    connection, _first = _connected(world, provider)
    using(world, connection, f"{provider.url}/api/calls")
    _renewed_long_ago(database, connection)
    ring(world)
    seconds = (datetime.now(UTC) - NOON).total_seconds()
    claimed = take(database, seconds).claimed
    with database.write() as session:
        session.get_one(Connection, connection).renew_on = datetime.now(UTC)
    assert renew(database, provider) == 1
    version = row_of(database, connection).version
    finish(database, claimed, Answer("http_4xx", "", 401), seconds + 1)
    row = row_of(database, connection)
    assert (row.version, row.ready_until is not None) == (version, True)
    assert ([row.state for row in world.deliveries()], _outcomes(world)) == (["pending"], ["token_expired"])
    with working(database, provider):
        wait_until(lambda: states(world) == {"delivered"})


def test_two_processes_renew_a_token_once(database: Database, provider: OAuthServer) -> None:
    connection, first = _connected(World(database), provider)
    with database.write() as session:
        session.get_one(Connection, connection).renew_on = datetime.now(UTC)
    asked = len(provider.asked)
    threads = [threading.Thread(target=renew, args=(database, provider)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert provider.asked[asked:] == ["refresh_token"]
    assert tokens(database, connection).refresh not in ("", first.refresh)
    assert row_of(database, connection).state == READY


def test_a_token_without_a_known_end_is_used_until_it_is_refused(database: Database, provider: OAuthServer) -> None:
    provider.lasts = None
    connection, _first = _connected(World(database), provider)
    row = row_of(database, connection)
    assert (row.ready_until, row.renew_on) == (FOREVER, None)


def test_what_was_changed_meanwhile_is_not_overwritten(database: Database, provider: OAuthServer) -> None:
    connection, _first = _connected(World(database), provider)
    with database.write() as session:
        session.get_one(Connection, connection).renew_on = datetime.now(UTC)

    def change() -> None:
        with database.write() as session:
            row = session.get_one(Connection, connection)
            row.version += 1
            row.tokens_sealed = seal_tokens(VAULT, OAuthTokens("newer", "newer"))

    provider.before_answer = change
    assert renew(database, provider) == 1
    assert tokens(database, connection) == OAuthTokens("newer", "newer")


def test_a_token_never_leaves_in_words_of_the_provider(database: Database, provider: OAuthServer) -> None:
    world = World(database)
    connection = add(world, crm(provider), "wrong-s3cret-of-ours")
    renew(database, provider)
    row = row_of(database, connection)
    assert (row.state, "s3cret" in row.reason) == (REFUSED, False)
    assert "invalid_client" in row.reason


def _connected(world: World, provider: OAuthServer) -> tuple[int, OAuthTokens]:
    """A connection with the grant refresh_token and its first tokens."""
    provider.tokens.append(Token("acc3ss-0", "r3fresh-0", "calls", 9e9))
    connection = add(world, crm(provider, "refresh_token"), SECRET, "r3fresh-0")
    assert renew(world.database, provider) == 1
    assert row_of(world.database, connection).state == READY, row_of(world.database, connection).reason
    return connection, tokens(world.database, connection)


def _end_token(database: Database, connection: int) -> None:
    _change(database, connection, lambda row: setattr(row, "ready_until", datetime.now(UTC)))


def _renewed_long_ago(database: Database, connection: int) -> None:
    _change(database, connection, lambda row: setattr(row, "renewed_on", datetime.now(UTC) - LONG_AGO))


def _change(database: Database, connection: int, how: Callable[[Connection], None]) -> None:
    with database.write() as session:
        row = session.get_one(Connection, connection)
        how(row)
        session.flush()
        touch_webhooks(session, row.project_id)


def _reconnect(database: Database, provider: OAuthServer, connection: int) -> None:
    provider.tokens.append(Token("acc3ss-new", "r3fresh-new", "calls", 9e9))
    sealed = seal_tokens(VAULT, OAuthTokens("", "r3fresh-new"))
    _change(database, connection, lambda row: setattr(row, "tokens_sealed", sealed))
    _change(database, connection, lambda row: setattr(row, "renew_on", datetime.now(UTC)))
    assert renew(database, provider) == 1


def test_the_lease_is_longer_than_the_deadline_of_a_request() -> None:
    assert timedelta(seconds=DEADLINE) < LEASE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("when", "rotates", "ends"),
    [
        ("before_work", True, READY),  # the provider has not seen the request
        ("before_answer", False, READY),  # it has rotated, and takes the former refresh token once more
        ("before_answer", True, REFUSED),  # it does not: the newest one is lost, and the reason says so
    ],
)
def test_a_process_killed_while_it_renews_leaves_the_rest_to_another(
    database: Database, database_url: str, provider: OAuthServer, when: str, rotates: bool, ends: str
) -> None:
    connection, first = _connected(World(database), provider)
    _change(database, connection, lambda row: setattr(row, "renew_on", datetime.now(UTC)))
    provider.rotates = rotates
    command = [sys.executable, "-m", "tests.support.renew_child", database_url, str(provider.port)]
    child = subprocess.Popen(command, cwd=ROOT)

    def kill() -> None:
        child.kill()
        if when == "before_work":
            abort(503)

    setattr(provider, when, kill)
    assert child.wait(60) == -signal.SIGKILL
    provider.before_work = provider.before_answer = lambda: None
    killed = row_of(database, connection)
    assert (killed.renewing is not None, tokens(database, connection)) == (True, first)
    assert renew(database, provider) == 0, "the lease of the killed process is not over"
    assert renew(database, provider, datetime.now(UTC) + LEASE) == 1
    row = row_of(database, connection)
    assert (row.state, row.renewing) == (ends, None)
    assert row.reason.endswith("the newest refresh token may be lost.") == (ends == REFUSED)
    assert row.ready_until is not None, "the token that is there is used until it ends"
