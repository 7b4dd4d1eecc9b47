"""A process of the kill test: a real listener, worker or web process that stands still at the step it is told.

The parent arms a step; the process goes on until it reaches it, says so and stands there: the parent kills it, or
kills the PostgreSQL server and lets it go on. The steps are patched in here: the product has no hooks for this.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import structlog

import pbxhub.account.reported_events as reported_events
import pbxhub.delivery.worker as worker_module
import pbxhub.services as services
from pbxhub.ami.lease_heartbeat import LeaseHeartbeat
from pbxhub.delivery.context import open_context
from pbxhub.delivery.worker import Worker
from pbxhub.opening import OpenHub, guard
from pbxhub.sending.engine import Engine
from pbxhub.services import bound
from pbxhub.settings import read_settings
from pbxhub.store.session import Database, open_database
from pbxhub.vault import Vault
from tests.support.simulation.planted_bugs import planted

LISTENER = ("publish begun", "publish before commit", "publish after commit")
WORKER = (
    "claim begun", "claim before commit", "claim after commit", "before request", "after request", "after answer",
    "record before commit", "record after commit",
)  # fmt: skip
WEB = ("write begun", "write before commit", "write after commit")
HUB = (
    "publish begun", "hand-off begun", "hand-off before commit", "before request", "after request",
    "hand-off after commit", "after answer", "record before commit", "record after commit",
)  # fmt: skip
HEARD = "publish asked"  # before its transaction, which on SQLite nobody else may have meanwhile
LEASE = timedelta(seconds=-9.4)  # with the deadline of 10 s: what a dead worker held is free after 0.6 s


class Steps:
    """Where the process is to stand still next."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._armed = ""
        self._lock = threading.Lock()
        self._go = threading.Event()

    def at(self, step: str, about: Any = None) -> None:
        with self._lock:
            if step != self._armed:
                return
            self._armed = ""
            self._line.send((step, about))
        self._go.wait()
        self._go.clear()

    def obey(self) -> None:
        """Takes what the parent says until it says stop or is gone."""
        try:
            while (said := self._line.recv()) != "stop":
                if said == "go":
                    self._go.set()
                    continue
                with self._lock:
                    self._armed = said
                    self._line.send(("armed", said))
        except EOFError:
            return


def patch(steps: Steps) -> None:
    """Names the steps: around the commits that publish, claim, record or write for the web, and around a request."""
    here = threading.local()
    write = Database.write

    @contextmanager
    def stepping_write(self: Database) -> Iterator[Any]:
        here.doing = []
        with write(self) as session:
            yield session
            for name in here.doing:
                steps.at(f"{name} before commit")
        for name in here.doing:
            steps.at(f"{name} after commit")

    def begins(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The transaction this is called in is `name`; an empty turn of the worker is none."""

        def begun(*arguments: Any, **named: Any) -> Any:
            steps.at(f"{name} begun")
            result = function(*arguments, **named)
            if getattr(result, "claimed", result):
                here.doing.append(name)
            return result

        return begun

    Database.write = stepping_write  # type: ignore[method-assign]
    worker_module.claim = begins("claim", worker_module.claim)  # type: ignore[attr-defined]
    Worker.claim_new = begins("hand-off", Worker.claim_new)  # type: ignore[method-assign]
    reported_events.publish_other = begins("write", reported_events.publish_other)  # type: ignore[attr-defined]
    _patch_record(steps, begins)
    _patch_publish(steps, here)
    _patch_requests(steps)
    _hear_everything()


def _patch_record(steps: Steps, begins: Callable[..., Callable[..., Any]]) -> None:
    record = worker_module.record  # type: ignore[attr-defined]
    stepping = begins("record", record)

    def recording(context: Any, session: Any, finished: Any, *rest: Any) -> Any:
        chosen = stepping if finished else record
        return chosen(context, session, finished, *rest)

    worker_module.record = recording  # type: ignore[attr-defined]


def _patch_publish(steps: Steps, here: threading.local) -> None:
    """publish() opens its transaction itself: what it writes is known as soon as it runs."""
    publish = services.publish  # type: ignore[attr-defined]
    write = Database.write

    @contextmanager
    def publishing_write(self: Database) -> Iterator[Any]:
        with write(self) as session:
            if getattr(here, "publishing", False):
                steps.at("publish begun")
                here.doing.append("publish")
            yield session

    def stepping(*arguments: Any, **named: Any) -> Any:
        steps.at(HEARD)
        here.publishing = True
        try:
            return publish(*arguments, **named)
        finally:
            here.publishing = False

    Database.write = publishing_write  # type: ignore[method-assign]
    services.publish = stepping  # type: ignore[attr-defined]


def _hear_everything() -> None:
    """Lets every listener have every PBX, as two have it at the moment of a take-over: both write the same calls, and
    what one was about to write when it was killed is written by the other. tests/test_share_pbxs.py has the shares."""
    begin = LeaseHeartbeat.__init__

    def unshared(self: LeaseHeartbeat, database: Database) -> None:
        begin(self, database)
        self.tokens = None

    LeaseHeartbeat.__init__ = unshared  # type: ignore[method-assign]


def _patch_requests(steps: Steps) -> None:
    """Before a request is given to the sending thread, after it was, and when its answer comes."""
    start, keep = Engine.start, Worker._keep

    def stepping_start(self: Any, outgoing: Any, tag: Any) -> None:
        about = (str(tag[0].id), str(tag[0].attempt))
        steps.at("before request", about)
        start(self, outgoing, tag)
        steps.at("after request", about)

    def stepping_keep(self: Any, claimed: Any, *rest: Any) -> None:
        steps.at("after answer", (str(claimed.id), str(claimed.attempt)))
        keep(self, claimed, *rest)

    Engine.start = stepping_start  # type: ignore[method-assign]
    Worker._keep = stepping_keep  # type: ignore[method-assign]


def main(role: str, variables: dict[str, str], bug: str, line: Connection) -> None:
    """The whole life of the process. bug: one of the simulation's, or ""."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(open(os.devnull, "w")))  # noqa: SIM115
    steps = Steps(line)
    settings = read_settings(variables)
    database = open_database(settings.database_url, direct_url=settings.database_direct_url)
    with planted(bug):
        patch(steps)
        with ROLES[role](OpenHub(settings, open_context(settings, database, Vault(settings.secret_key)))):
            line.send(("ready", None))
            steps.obey()
    sys.exit(0)


@contextmanager
def working(hub: OpenHub) -> Iterator[None]:
    """The worker of `pbxhub work` with a shorter lease."""
    engine: Engine[Any] = Engine(guard(hub), 64)
    worker = Worker(hub.context, engine, lease=LEASE, capacity=8)
    worker_module.STOP_WAIT = 1.0
    worker.start()
    yield
    worker.stop()


@contextmanager
def handing_over(hub: OpenHub) -> Iterator[None]:
    """What hears calls and sends what it publishes, with a shorter lease: `pbxhub run` without its pages on SQLite,
    `pbxhub listen` on PostgreSQL."""
    services.Worker = partial(Worker, lease=LEASE)  # type: ignore[attr-defined]
    worker_module.STOP_WAIT = 1.0
    with ExitStack() as stack:
        stack.enter_context((services.working if hub.context.database.is_sqlite else services.sending_new)(hub))
        stack.enter_context(services.listening(hub))
        yield


@contextmanager
def serving_pages(hub: OpenHub) -> Iterator[None]:
    """The pages of `pbxhub web`, in one process."""
    with services.pages(hub, bound(hub.settings.bind, hub.settings.port)):
        yield


ROLES = {"listener": services.listening, "hub": handing_over, "worker": working, "web": serving_pages}
