"""A hub that answers over HTTP, with a project, keys of every kind, and a stranger's project beside it."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
from served import Served
from werkzeug.serving import make_server

from pbxhub.ami.checkup import check_row
from pbxhub.ami.pbx_rows import pbx_row
from pbxhub.api import install
from pbxhub.delivery.address_guard import AddressGuard
from pbxhub.delivery.engine import Engine
from pbxhub.delivery.worker import Worker
from pbxhub.settings import read_settings
from pbxhub.store.accounts import Pbx, Project
from pbxhub.store.session import Database
from pbxhub.store.vault import Vault
from pbxhub.testing.mock import MockServer
from pbxhub.web import create_app

VAULT = Vault(b"k" * 32)
LOOPBACK = AddressGuard((ip_network("127.0.0.0/8"),))


@pytest.fixture
def hub(database: Database, tmp_path: Path) -> Iterator[Served]:
    settings = read_settings({"PBXHUB_DATA_DIR": str(tmp_path / "data"), "PBXHUB_PUBLIC_URL": "http://localhost"})
    app = create_app(settings, database, VAULT, lambda: LOOPBACK, check_pbx=lambda pbx: check_row(pbx_row(pbx, VAULT)))
    install(app)
    with database.write() as session:
        ours, theirs = (Project(name=name, country="UA", created_on=datetime.now(UTC)) for name in ("Ours", "Theirs"))
        session.add_all([ours, theirs])
        session.flush()
        pbx = Pbx(project_id=ours.id, name="office", host="127.0.0.1", username="hub",
                  secret_sealed=VAULT.seal("s3cret"), created_on=datetime.now(UTC))  # fmt: skip
        session.add(pbx)
        session.flush()
        ids = ours.id, theirs.id, pbx.id
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Served(database, f"http://127.0.0.1:{server.port}", *ids, app)
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture
def receiver() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def working(hub: Served) -> Iterator[Callable[[], None]]:
    worker = Worker(hub.database, VAULT, Engine(LOOPBACK, 50), capacity=50, public_url="http://localhost")
    worker.start()
    yield lambda: None
    worker.stop()
