"""Whatever makes the hub ask an address does so by the one sender: its guard stands at every side door."""

import ast
from pathlib import Path
from uuid import UUID

import pytest
from flask import Flask

import pbxhub
from pbxhub import services
from pbxhub.account.access import Access, Program, rights_of_role
from pbxhub.account.preview import test_send as send_test
from pbxhub.delivery.context import open_context
from pbxhub.delivery.links import LinkRule, Links
from pbxhub.delivery.outbox import resend_one
from pbxhub.notices.send_notices import send_due
from pbxhub.opening import OpenHub, guard
from pbxhub.sending.sender import Sender
from pbxhub.settings import read_settings
from pbxhub.store.accounts import Project
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import FAILED
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.notices import FIRST_FAILURE, Notice, NoticeTarget
from pbxhub.store.session import Database
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.web import create_app
from pbxhub.webhooks.spec import dump_spec
from tests.support.outbox_world import BEFORE, VAULT, World, at, context_of, report, spec
from tests.support.sending import PUBLIC_ONLY
from tests.support.waiting import wait_until
from tests.support.working import working

PACKAGE = Path(pbxhub.__file__).parent
# whatever opens a connection to a place that somebody else names
CLIENTS = {"requests", "pycurl", "urllib3", "urllib.request", "http.client", "smtplib", "httpx", "aiohttp", "socket"}
SENDER = {"sending/address_guard.py", "sending/curl_failures.py", "sending/curl_handle.py", "sending/curl_loop.py",
          "sending/connection_pools.py", "sending/resolver.py", "sending/requests_in_flight.py"}  # fmt: skip
OTHERS = {
    "client.py": "for programs that call the hub's API; the hub itself does not import it",
    "ami/lease_heartbeat.py": "asks for the name of its own host",
    "ami/login.py": "AMI, to the PBXs of the operator",
    "agi/server.py": "FastAGI, listens only",
    "services.py": "opens the port of FastAGI",
    "running.py": "opens the port of the pages",
    "http_server.py": "the pages, listens only",
    "notices/mail.py": "mails, through the server of the operator's settings",
    "sending/own_address.py": "asks the kernel for a route; a connected UDP socket sends nothing",
    "web/pages/pbxs.py": "looks whether AMI greets at the address of a PBX",
}


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Flask:
    variables = {"PBXHUB_DATA_DIR": str(tmp_path / "data"), "PBXHUB_PUBLIC_URL": "http://localhost"}
    return create_app(read_settings(variables), open_context(read_settings(variables), database, VAULT))


def test_the_hubs_own_services_stay_out_of_reach_in_an_allowed_network(database: Database, tmp_path: Path) -> None:
    variables = {
        "PBXHUB_DATA_DIR": str(tmp_path / "data"), "PBXHUB_ALLOWED_NETWORKS": "127.0.0.0/8", "PBXHUB_PORT": "18080",
        "PBXHUB_AGI": "127.0.0.1:14573", "PBXHUB_METRICS": "127.0.0.1:19108",
        "PBXHUB_SMTP": "smtp+plain://127.0.0.1:12525", "PBXHUB_MAIL_FROM": "hub@example.com",
    }  # fmt: skip
    door = guard(OpenHub(read_settings(variables), context_of(database)))
    for port in (18080, 14573, 19108, 12525):
        assert door.check_url(f"http://127.0.0.1:{port}/"), port
    assert door.check_url("http://127.0.0.1:18081/") is None


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_no_other_module_can_send_a_request() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if not path.is_relative_to(PACKAGE / "testing") and imported(path) & CLIENTS
    }
    assert found - SENDER <= OTHERS.keys()


@pytest.mark.slow
def test_a_test_send_is_guarded(app: Flask, database: Database) -> None:
    world = World(database)
    with Receiver() as receiver, app.test_request_context("/"), database.read() as session:
        access = Access(
            session.get_one(Project, world.project_id),
            Program("test"),
            rights_of_role("editor"),
            app.extensions["pbxhub"],
        )
        tried = send_test(session, access, {"spec": dump_spec(spec(receiver.url)), "stage": BEFORE}, None)
        assert tried.answer is not None
        assert tried.answer.outcome == "blocked_target"
        assert receiver.connections == 0


@pytest.mark.slow
def test_a_recording_is_fetched_by_the_guarded_sender(app: Flask, database: Database) -> None:
    world = World(database)
    with Receiver() as receiver:
        world.publish(report("1.1", BEFORE), now=utc_now())
        with database.write() as session:
            call = session.query(Call).one()
            call.data = {**call.data, "recording_file": f"{receiver.url}/a.wav"}
            call_id: UUID = call.id
        name = f"{receiver.url}/a.wav"
        link = Links(VAULT, "http://localhost").recording(call_id, world.pbx_id, name, LinkRule(), utc_now())
        assert app.test_client().get(link).status_code == 404
        assert receiver.connections == 0


@pytest.mark.slow
def test_a_recording_of_hours_is_fetched_whole_and_in_parts(database: Database, tmp_path: Path) -> None:
    sound = bytes(range(256)) * 8000  # 2 MB
    variables = {"PBXHUB_DATA_DIR": str(tmp_path / "data"), "PBXHUB_ALLOWED_NETWORKS": "127.0.0.0/8"}
    settings = read_settings(variables | {"PBXHUB_PUBLIC_URL": "http://localhost"})
    app = services.app(OpenHub(settings, open_context(settings, database, VAULT)))
    world = World(database)
    with Receiver(lambda _request: Reply(200, sound)) as receiver:
        world.publish(report("1.1", BEFORE), now=utc_now())
        with database.write() as session:
            call = session.query(Call).one()
            call.data = {**call.data, "recording_file": f"{receiver.url}/a.wav"}
            call_id: UUID = call.id
        name = f"{receiver.url}/a.wav"
        link = Links(VAULT, "http://localhost").recording(call_id, world.pbx_id, name, LinkRule(), utc_now())
        with app.test_client().get(link) as whole:
            assert (whole.status_code, whole.mimetype, whole.data) == (200, "audio/wav", sound)
        later = {"Range": "bytes=1000000-", "If-Range": whole.headers["ETag"]}
        with app.test_client().get(link, headers=later) as part:
            assert (part.status_code, part.data) == (206, sound[1_000_000:])


def test_a_notice_by_http_is_guarded(database: Database) -> None:
    world = World(database)
    webhook = world.webhook()
    with Receiver() as receiver:
        with database.write() as session:
            session.add(NoticeTarget(project_id=world.project_id, address=receiver.url))
            session.add(
                Notice(
                    id=new_id(), project_id=world.project_id, webhook_id=webhook, kind=FIRST_FAILURE, text="sick",
                    created_on=at(0), due_on=at(0),
                )
            )  # fmt: skip
        sender = Sender(PUBLIC_ONLY)
        assert send_due(database, sender, None, at(1)) == 0
        sender.close()
        assert receiver.connections == 0
    with database.read() as session:
        assert "not allowed to connect" in session.query(Notice).one().error


def test_what_is_sent_again_is_guarded_again(database: Database) -> None:
    """Saved and sent while its address was allowed, sent again when it is not."""
    world = World(database)
    with Receiver() as receiver, Receiver() as other:
        world.webhook(BEFORE, spec(receiver.url))
        with working(database, receiver):
            world.publish(report("1.1", BEFORE), now=utc_now())
            receiver.wait_for(1)
            wait_until(lambda: bool(world.deliveries()[0].finished_on))
        (delivery,) = world.deliveries()
        with database.write() as session:
            resend_one(context_of(database), session, world.project_id, delivery.id, utc_now())
        with working(database, other):
            wait_until(lambda: world.deliveries()[0].state == FAILED)
        assert world.deliveries()[0].outcome == "blocked_target"
        assert receiver.count == 1
