"""A hub that answers over HTTP, with a project, keys of every kind, and a stranger's project beside it."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_network
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import make_server

from pbxhub.ami.pbx_check import check_row
from pbxhub.ami.pbx_rows import pbx_row
from pbxhub.delivery.context import open_context
from pbxhub.delivery.worker import Worker
from pbxhub.finding import Finding
from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.engine import Engine
from pbxhub.settings import read_settings, with_key
from pbxhub.store.accounts import Employee, Number, Pbx, Project, SavedFilter
from pbxhub.store.api import Resthook, Subscriber
from pbxhub.store.connections import Connection
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.store.queue_pauses import QueuePause
from pbxhub.store.resends import Resend
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, WebhookVersion
from pbxhub.testing.receivers.mock_server import MockServer
from pbxhub.webhooks.connection_spec import ConnectionSpec
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec
from tests.support import without_limits
from tests.support.pages_server import serving_pages
from tests.support.served import VAULT, Served
from tests.support.shared_app import shared_app
from tests.support.two_processes import TWO_PROCESSES

LOOPBACK = AddressGuard((ip_network("127.0.0.0/8"),))


def _check(pbx: Pbx, operator: bool) -> list[Finding]:
    return check_row(pbx_row(pbx, VAULT), operator)


@pytest.fixture
def hub(request: pytest.FixtureRequest, database: Database, database_url: str, tmp_path: Path) -> Iterator[Served]:
    with serving_here(database, tmp_path) as served:
        if getattr(request, "param", "") != TWO_PROCESSES:
            yield served
            return
        command = (sys.executable, without_limits.__file__)
        with serving_pages("web", database_url, tmp_path, program=command) as web:
            assert len(web.workers) == 2
            yield replace(served, address=web.url)
        assert "Traceback" not in web.said()


@contextmanager
def serving_here(database: Database, tmp_path: Path) -> Iterator[Served]:
    settings = with_key(
        read_settings({"PBXHUB_DATA_DIR": str(tmp_path / "data"), "PBXHUB_PUBLIC_URL": "http://localhost"})
    )
    app = shared_app(settings, open_context(settings, database, VAULT), LOOPBACK, _check)
    with database.write() as session:
        ours, theirs = (Project(name=name, country="UA", created_on=datetime.now(UTC)) for name in ("Ours", "Theirs"))
        ours.pbx_networks = ["127.0.0.0/8", "192.0.2.0/24"]
        session.add_all([ours, theirs])
        session.flush()
        pbx = Pbx(project_id=ours.id, name="office", host="127.0.0.1", username="hub",
                  secret_sealed=VAULT.seal("s3cret"), created_on=datetime.now(UTC))  # fmt: skip
        session.add(pbx)
        session.flush()
        ids = ours.id, theirs.id, pbx.id
    yield Served(database, _address_of(app), *ids, app)


@cache
def _address_of(app: Flask) -> str:
    """Where the application answers that all tests of a process share, until the process ends."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture
def ids(hub: Served) -> dict[str, object]:
    """One of everything in our project, by the name of the place in the route."""
    moment = datetime.now(UTC)
    with hub.database.write() as session:
        own = {"project_id": hub.project_id}
        spec = WebhookSpec(request=RequestSpec(url="http://127.0.0.1:9/"))
        webhook = Webhook(**own, name="CRM", stage="incoming.after", spec=spec, created_on=moment)
        employee, number = Employee(**own, extension="101"), Number(**own, pbx_id=hub.pbx_id, did="380445550100")
        call = Call(id=new_id(), **own, pbx_id=hub.pbx_id, linkedid="1.1", direction="incoming", caller="1", dst="2",
                    started_on=moment, ended_on=moment)  # fmt: skip
        hook = Resthook(**own, name="new-lead", created_on=moment)
        connection = Connection(**own, name="CRM", spec=ConnectionSpec(hosts=("127.0.0.1",)), created_on=moment)
        session.add_all([webhook, employee, number, call, hook, connection])
        session.flush()
        event = StageEvent(id=new_id(), **own, call_id=call.id, stage="incoming.after", key="", ordinal=1,
                           created_on=moment, data={})  # fmt: skip
        order = OrderedCall(id=new_id(), **own, pbx_id=hub.pbx_id, mobile_number="+380441234567", agent_id="101",
                            created_on=moment)  # fmt: skip
        resend = Resend(id=new_id(), **own, state="running", selection={"ids": []}, current_settings=False, rate=1,
                        total=0, queued=0, stepped_on=moment, created_on=moment)  # fmt: skip
        saved = SavedFilter(**own, page="calls", name="f", fields={"number": "1"}, created_on=moment)
        paused = QueuePause(id=new_id(), **own, pbx_id=hub.pbx_id, member="PJSIP/101", queue="", paused=True, reason="",
                            created_on=moment)  # fmt: skip
        session.add_all([event, order, resend, saved, paused])
        session.add(WebhookVersion(webhook_id=webhook.id, revision=1, name="CRM", stage="incoming.after",
                                   enabled=True, spec=spec, created_on=moment))  # fmt: skip
        session.flush()
        delivery = Delivery(id=new_id(), **own, webhook_id=webhook.id, webhook_revision=1, stage_event_id=event.id,
                            call_id=call.id, state="failed", lane=1, due_at=moment, method="POST",
                            url="http://127.0.0.1:9/", headers=[], body=b"", created_on=moment)  # fmt: skip
        subscriber = Subscriber(resthook_id=hook.id, webhook_id=webhook.id, target_url="x", created_on=moment)
        session.add_all([delivery, subscriber])
        session.flush()
        return {
            "project_id": hub.project_id, "connection_id": connection.id, "pbx_id": hub.pbx_id,
            "number_id": number.id, "employee_id": employee.id, "event_id": event.id,
            "webhook_id": webhook.id, "revision": 1, "call_id": order.id, "delivery_id": delivery.id,
            "resend_id": resend.id, "filter_id": saved.id, "name": "new-lead", "subscriber_id": subscriber.id,
            "item_id": "slack", "pause_id": paused.id,
        }  # fmt: skip


@pytest.fixture
def receiver() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def working(hub: Served) -> Iterator[Callable[[], None]]:
    worker = Worker(hub.context, Engine(LOOPBACK, 50), capacity=50)
    worker.start()
    yield lambda: None
    worker.stop()
