"""Which of the operator's allowed networks the requests of a project reach: its own grant, at every door."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from pbxhub import services
from pbxhub.account.access import Access, Program, rights_of_role
from pbxhub.account.preview import test_send as send_test
from pbxhub.delivery.worker import Worker
from pbxhub.notices.send_notices import send_due
from pbxhub.opening import OpenHub, guard
from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.engine import Engine
from pbxhub.sending.sender import Sender
from pbxhub.settings import read_settings, with_key
from pbxhub.store.accounts import Pbx, Project
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import DELIVERED, FAILED
from pbxhub.store.ids import new_id
from pbxhub.store.notices import FIRST_FAILURE, Notice, NoticeTarget
from pbxhub.store.session import Database
from pbxhub.store.webhooks import touch_webhooks
from pbxhub.testing.receivers.receiver import Receiver
from pbxhub.webhooks.spec import dump_spec
from tests.support.outbox_world import BEFORE, World, context_of, report, spec
from tests.support.sending import LOOPBACK_TOO, post, sender
from tests.support.waiting import wait_until

LOOPBACK = ip_network("127.0.0.0/8")


def grant(database: Database, project_id: int, networks: list[str] | None) -> None:
    with database.write() as session:
        session.get_one(Project, project_id).webhook_networks = networks
        touch_webhooks(session, project_id)


def test_one_sender_keeps_the_grants_of_two_projects_apart() -> None:
    """The word on an address is remembered: never the word of another project."""
    with Receiver() as receiver, sender(LOOPBACK_TOO) as one:
        outcomes = [
            one.send(post(receiver.url, networks=networks)).outcome
            for networks in (None, frozenset(), frozenset({LOOPBACK}), frozenset({ip_network("10.0.0.0/8")}), None)
        ]
        assert outcomes == ["ok", "blocked_target", "ok", "blocked_target", "ok"]
        assert receiver.count == 3


def test_a_grant_is_never_more_than_what_the_settings_allow() -> None:
    guard = AddressGuard((LOOPBACK,)).granting(frozenset({ip_network("10.0.0.0/8"), ip_network("0.0.0.0/0")}))
    assert guard.check_address("10.0.0.1", 80)
    assert guard.check_address("127.0.0.1", 80)


def test_the_worker_sends_by_the_grant_of_each_project_as_it_is_now(database: Database) -> None:
    world = World(database)
    grant(database, world.project_id, [])
    worker = Worker(context_of(database), Engine(LOOPBACK_TOO))
    worker.start()
    with Receiver() as receiver:
        try:
            world.webhook(BEFORE, spec(receiver.url))
            world.publish(report("1.1", BEFORE), now=utc_now())
            wait_until(lambda: [row.state for row in world.deliveries()] == [FAILED])
            assert world.deliveries()[0].outcome == "blocked_target"
            assert receiver.connections == 0
            grant(database, world.project_id, ["127.0.0.0/8"])
            world.publish(report("1.2", BEFORE), now=utc_now())
            wait_until(lambda: world.deliveries()[-1].state == DELIVERED)
        finally:
            worker.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("networks", "outcome"), [([], "blocked_target"), (["127.0.0.0/8"], "ok"), (None, "ok")])
def test_a_test_send_and_a_notice_go_by_the_grant(
    database: Database, tmp_path: Path, networks: list[str] | None, outcome: str
) -> None:
    variables = {"PBXHUB_DATA_DIR": str(tmp_path / "data"), "PBXHUB_ALLOWED_NETWORKS": "127.0.0.0/8"}
    app = services.app(OpenHub(with_key(read_settings(variables)), context_of(database)))
    world = World(database)
    webhook = world.webhook()
    grant(database, world.project_id, networks)
    with Receiver() as receiver:
        with app.test_request_context("/"), database.read() as session:
            access = Access(
                session.get_one(Project, world.project_id),
                Program("test"),
                rights_of_role("editor"),
                app.extensions["pbxhub"],
            )
            tried = send_test(session, access, {"spec": dump_spec(spec(receiver.url)), "stage": BEFORE}, None)
            assert tried.answer is not None
            assert tried.answer.outcome == outcome
        with database.write() as session:
            session.add(NoticeTarget(project_id=world.project_id, address=receiver.url))
            session.add(Notice(id=new_id(), project_id=world.project_id, webhook_id=webhook, kind=FIRST_FAILURE,
                               text="sick", created_on=utc_now(), due_on=utc_now()))  # fmt: skip
        hand = Sender(LOOPBACK_TOO)
        assert send_due(database, hand, None, utc_now()) == int(outcome == "ok")
        hand.close()
        assert receiver.connections == (2 if outcome == "ok" else 0)


def test_a_pbx_at_a_public_address_closes_it_to_nobody(database: Database, tmp_path: Path) -> None:
    """AMI stays out of reach of webhooks where an operator let the PBX in. A tenant who says that his PBX is where
    others have their CRM must not cut them off."""
    hub = OpenHub(with_key(read_settings({"PBXHUB_DATA_DIR": str(tmp_path / "data")})), context_of(database))
    world = World(database)
    with database.write() as session:
        pbx = session.get_one(Pbx, world.pbx_id)
        pbx.host, pbx.port, pbx.any_network = "8.8.8.8", 443, False
    assert guard(hub).check_address("8.8.8.8", 443) is None
    with database.write() as session:
        session.get_one(Pbx, world.pbx_id).any_network = True
    assert guard(hub).check_address("8.8.8.8", 443)
