"""A company keeps the key of its CRM once, and its webhooks use it: for the hosts of the connection and no others."""

from typing import Any

import pytest

from pbxhub.delivery.outbox import publish
from pbxhub.store.session import Database
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.webhooks.connection_check import check_connection
from pbxhub.webhooks.connection_spec import ConnectionSpec, load_connection, may_go_to
from tests.support.connections import connect, using
from tests.support.outbox_world import AFTER, NOON, World, context_of, report
from tests.support.waiting import wait_until
from tests.support.working import states, working


@pytest.mark.parametrize(
    ("kind", "names", "carried"),
    [
        ("bearer", {}, ("authorization", "Bearer k3y-of-the-crm")),
        ("basic", {"username": "hub"}, ("authorization", "Basic aHViOmszeS1vZi10aGUtY3Jt")),
        ("header", {"name": "X-Key"}, ("x-key", "k3y-of-the-crm")),
    ],
)
def test_webhooks_carry_the_credentials_of_their_connection(
    database: Database, kind: Any, names: dict[str, str], carried: tuple[str, str]
) -> None:
    world = World(database)
    with Receiver() as receiver:
        where = f"http://127.0.0.1:{receiver.port}"
        connection = connect(world, ConnectionSpec(kind, (where,), **names))
        for path in ("one", "two"):
            using(world, connection, f"{where}/{path}")
        publish(context_of(database), {world.pbx_id: [report("1.1", AFTER)]}, NOON)
        with working(database, receiver):
            wait_until(lambda: states(world) == {"delivered"})
    assert [carried[1]] * 2 == [one.header(carried[0]) for one in receiver.requests]
    for delivery in world.deliveries():
        told = f"{delivery.url}{delivery.headers}{world.attempts(delivery)[0].request_headers}"
        assert "k3y" not in told
        assert "aHVi" not in told


def test_the_credentials_never_leave_for_another_host(database: Database) -> None:
    """Not even when the webhook was changed behind the rules of the account, and not with a redirect."""
    world = World(database)
    with Receiver() as stranger:

        def lead_away(_request: Any) -> Reply:
            return Reply(302, headers=(("Location", f"http://127.0.0.1:{stranger.port}/stolen"),))

        with Receiver(lead_away) as receiver:
            own = f"http://127.0.0.1:{receiver.port}"
            connection = connect(world, ConnectionSpec("query", (own,), name="auth"))
            using(world, connection, f"{own}/redirects", follow_to_get=True)
            using(world, connection, f"http://127.0.0.1:{stranger.port}/elsewhere")
            publish(context_of(database), {world.pbx_id: [report("1.1", AFTER)]}, NOON)
            with working(database, receiver, stranger):
                wait_until(lambda: "pending" not in states(world))
    assert [one.path for one in receiver.requests] == ["/redirects?auth=k3y-of-the-crm"]
    assert [one.path for one in stranger.requests] == ["/stolen"]
    assert not any("k3y" in f"{one.path}{one.headers}{one.body!r}" for one in stranger.requests)
    refused = next(row for row in world.deliveries() if "elsewhere" in row.url)
    assert (refused.state, refused.message) == (
        "failed", "Not sent: the connection CRM may not be used for the host of this URL."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("host", "yes", "no"),
    [
        ("api.example.com", ["https://api.example.com/x", "https://API.example.com?y", "https://api.example.com:443"],
         ["http://api.example.com/", "https://api.example.com.evil.com/", "https://evil.com/?api.example.com",
          "https://api.example.com:8443/", "https://api.example.com@evil.com/", "https://xapi.example.com/",
          "https://evil.com\\@api.example.com/", "https://[::1]/"]),
        ("*.example.com", ["https://a.example.com/", "https://a.b.example.com/"],
         ["https://example.com/", "https://aexample.com/", "https://example.com.evil.com/"]),
        ("http://10.0.0.5:8080", ["http://10.0.0.5:8080/x"], ["https://10.0.0.5:8080/x", "http://10.0.0.5/x"]),
        ("[::1]:8443", ["https://[::1]:8443/"], ["https://[::1]/"]),
    ],
)  # fmt: skip
def test_hosts_are_compared_exactly(host: str, yes: list[str], no: list[str]) -> None:
    connection = ConnectionSpec(hosts=(host,))
    assert check_connection(connection) == []
    assert [url for url in yes if not may_go_to(connection, url)] == []
    assert [url for url in no if may_go_to(connection, url)] == []


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"hosts": []}, "hosts"),
        ({"hosts": ["*.com"]}, "hosts"),
        ({"hosts": ["https://a.example.com/"]}, "hosts"),
        ({"hosts": ["a.example.com:99999"]}, "hosts"),
        ({"kind": "header", "name": "Host"}, "name"),
        ({"kind": "basic", "username": "a:b"}, "username"),
        ({"test_url": "https://elsewhere.example.com/"}, "test_url"),
        ({"kind": "oauth2"}, "oauth"),
        ({"kind": "oauth2", "oauth": {"client_id": "x", "token_url": "http://1.1.1.1/"}}, "oauth.token_url"),
        ({"kind": "oauth2", "oauth": {"client_id": "x", "token_url": "https://a.example.com/"}}, "oauth.authorize_url"),
        ({"kind": "oauth2", "oauth": {"grant": "client_credentials", "token_url": "https://a.example.com/"}},
         "oauth.client_id"),
        *(({"kind": "oauth2", "oauth": {"extra": [{"name": name, "value": "x"}]}}, "oauth.extra")
          for name in ("scope", "state", "client_id", "redirect_uri", "response_type", "code_challenge")),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_field(wrong: dict[str, Any], path: str) -> None:
    connection = load_connection({"hosts": ["api.example.com"], **wrong})
    assert path in [error.path for error in check_connection(connection)]
