"""A webhook trusts an authority of its own and shows a certificate; its private key is kept like any other secret."""

import pytest
from sqlalchemy import select

from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import DELIVERED, FAILED
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.receivers import misbehaving as zoo
from pbxhub.testing.receivers.bad_tls import Authority, new_authority
from pbxhub.testing.receivers.misbehaving import Cage
from pbxhub.webhooks.check import check_spec
from pbxhub.webhooks.spec import RequestSpec, SpecError, dump_spec
from tests.support.outbox_world import BEFORE, VAULT, World, report, spec
from tests.support.waiting import wait_until
from tests.support.working import working


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


def delivered(database: Database, authority: Authority, request: RequestSpec, sealed: str) -> World:
    """One stage for a webhook whose receiver wants a certificate of the authority."""
    world = World(database)
    with Cage(zoo.says(zoo.OK), authority.strict_server()) as cage:
        what = spec(request=RequestSpec(url=cage.url, tls_ca=request.tls_ca, tls_certificate=request.tls_certificate))
        world.webhook(BEFORE, what, tls_key_sealed=sealed)
        with working(database, cage):  # type: ignore[arg-type]
            world.publish(report("1.1", BEFORE), now=utc_now())
            wait_until(lambda: world.deliveries()[0].state in (DELIVERED, FAILED))
    return world


def test_a_receiver_that_wants_a_certificate_gets_it(database: Database, authority: Authority) -> None:
    certificate, key = authority.client()
    world = delivered(database, authority, RequestSpec(tls_ca=authority.pem, tls_certificate=certificate), seal(key))
    assert world.deliveries()[0].outcome == "ok"


@pytest.mark.parametrize("lacks", ["authority", "certificate", "key"])
def test_without_authority_certificate_or_key_nothing_is_sent(
    database: Database, authority: Authority, lacks: str
) -> None:
    certificate, key = authority.client()
    request = RequestSpec(
        tls_ca="" if lacks == "authority" else authority.pem,
        tls_certificate="" if lacks == "certificate" else certificate,
    )
    world = delivered(database, authority, request, "" if lacks == "key" else seal(key))
    (delivery,) = world.deliveries()
    assert delivery.state == FAILED
    assert delivery.outcome in ("tls_error", "reset")  # TLS 1.3 tells a client only after its handshake


def test_the_key_is_in_no_spec_and_a_copy_takes_it_along(database: Database, authority: Authority) -> None:
    certificate, key = authority.client()
    world = World(database)
    world.webhook(BEFORE, spec(request=RequestSpec(tls_certificate=certificate)), tls_key_sealed=seal(key))
    with database.read() as session:
        webhook = session.scalars(select(Webhook)).one()
        assert "PRIVATE KEY" not in str(dump_spec(webhook.spec)) + webhook.tls_key_sealed
        assert VAULT.open(webhook.copy().tls_key_sealed) == key


def test_something_else_than_a_certificate_is_refused_when_it_is_saved(authority: Authority) -> None:
    certificate, key = authority.client()
    for wrong in (key, certificate + key, "abc"):
        with pytest.raises(SpecError, match="tls_certificate: is not a certificate in PEM form"):
            check_spec({"request": {"url": "https://crm.example.com/calls", "tls_certificate": wrong}})
    check_spec({"request": {"url": "https://crm.example.com/calls", "tls_certificate": certificate}})


def seal(key: str) -> str:
    return VAULT.seal(key)
