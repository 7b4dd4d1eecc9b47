"""A hub without its pages: a fresh database, a project, a worker that may reach the receiver."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from urllib.parse import urlsplit

from sqlalchemy import func, select, text

from pbxhub.calls.stages import CallReport, Stage
from pbxhub.delivery.context import DeliveryContext, utc_now
from pbxhub.delivery.links import Links
from pbxhub.delivery.worker import Worker
from pbxhub.sending.address_guard import AddressGuard, endpoints
from pbxhub.sending.engine import Engine
from pbxhub.services import collect_seldom
from pbxhub.store.accounts import Pbx, Project
from pbxhub.store.delivery_rows import DELIVERED, Delivery
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Database, open_database
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.hub.postgres import postgres_server
from pbxhub.vault import Vault
from pbxhub.webhooks.spec import Limits, Parameter, RequestSpec, WebhookSpec

VAULT = Vault(b"b" * 32)
NAMES = ("event", "call_id", "caller", "caller_name", "dst", "direction", "calldate", "delivery_id")


@contextmanager
def databases(kind: str) -> Iterator[Database]:
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            database = open_database(f"sqlite:///{folder}/line.sqlite3")
            migrate(database)
            yield database
            database.close()
    else:
        with postgres_server(durable=True) as url:
            database = open_database(url)
            migrate(database)
            yield database
            database.close()


@cache
def context_of(database: Database) -> DeliveryContext:
    """The one that everybody of this process shares."""
    return DeliveryContext(database, VAULT, Links(VAULT, "http://localhost"))


def populate(database: Database, urls: Sequence[str], in_flight: int = 1000) -> int:
    """A project with a webhook on incoming.before for each URL. Returns the id of its PBX."""
    parameters = tuple(Parameter(name, value=f"<<{name}>>") for name in NAMES)
    now = utc_now()
    with database.write() as session:
        project = Project(name="bench", created_on=now)
        session.add(project)
        session.flush()
        pbx = Pbx(project_id=project.id, name="b", host="h", username="u", secret_sealed="", created_on=now)
        session.add(pbx)
        for number, url in enumerate(urls):
            spec = WebhookSpec(request=RequestSpec(url=url, parameters=parameters), limits=Limits(in_flight=in_flight))
            session.add(
                Webhook(project_id=project.id, name=f"w{number}", stage="incoming.before", spec=spec, created_on=now)
            )
        session.flush()
        return pbx.id


def report(call: str) -> CallReport:
    """A new call with its first stage."""
    now = datetime.now(UTC)
    values = {
        "channel": "PJSIP/trunk-0000002a", "trunk": "trunk", "context": "from-trunk", "caller": "+380441234567",
        "caller_name": "Anna Petrova", "dst": "380445556677", "direction": "incoming", "call_id": call,
        "calldate": now, "call_type": "in",
    }  # fmt: skip
    return CallReport(
        call, "incoming", "+380441234567", "Anna Petrova", "380445556677", "", now, None, None, "", values,
        (Stage("incoming.before", "", 1, now, values),), {"channels": {"1": "PJSIP/trunk-0000002a"}},
    )  # fmt: skip


def delivered(database: Database) -> int:
    with database.read() as session:
        query = select(func.count()).select_from(Delivery).where(Delivery.state == DELIVERED)
        return session.scalar(query) or 0


def is_waiting(database: Database) -> bool:
    """Whether anything is still to be sent: a look into an index, which costs nothing beside the work."""
    with database.read() as session:
        return session.scalar(text("SELECT 1 FROM delivery WHERE state = 'pending' LIMIT 1")) is not None


@contextmanager
def working(database: Database, url: str, capacity: int = 1000) -> Iterator[Worker]:
    port = urlsplit(url).port or 80
    guard = AddressGuard(allowed_endpoints=endpoints("127.0.0.1", port))
    worker = Worker(context_of(database), Engine(guard, capacity), capacity=capacity)
    collect_seldom()
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
