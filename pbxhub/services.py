"""The long-running parts of the hub as context managers. Each runs on its own threads while the context is open; on
exit it stops within ten seconds and loses nothing."""

import asyncio
import gc
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog
from prometheus_client import REGISTRY, start_http_server
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pbxhub.agi.conversation import Shared
from pbxhub.agi.question_writer import QuestionWriter
from pbxhub.agi.server import BACKLOG, MOST_CALLS, Server
from pbxhub.ami.listener import listen
from pbxhub.ami.publisher import Publisher
from pbxhub.delivery.background_jobs import GUARD_EVERY, BackgroundJobs
from pbxhub.delivery.call_rows import Reports
from pbxhub.delivery.heartbeat import beating
from pbxhub.delivery.metrics import QueueMetrics, WorkerMetrics
from pbxhub.delivery.open_recordings import Fetch
from pbxhub.delivery.outbox import publish
from pbxhub.delivery.outbox.claimed import Claimed
from pbxhub.delivery.prepare import Prepared
from pbxhub.delivery.prune import retention
from pbxhub.delivery.renewals import RenewalMetrics
from pbxhub.delivery.wakeup import ChangeWatch
from pbxhub.delivery.watch_metrics import ListenerMetrics, WatchMetrics
from pbxhub.delivery.worker import Worker
from pbxhub.opening import OpenHub, guard, installation, pbx_places
from pbxhub.sending.engine import Engine
from pbxhub.sending.sender import Sender
from pbxhub.store.agi_tokens import Tokens
from pbxhub.store.database_errors import reason
from pbxhub.store.listeners import LeaseTokens
from pbxhub.threads import beside
from pbxhub.tracing import tracing

if TYPE_CHECKING:
    from flask import Flask


_GUARD_LASTS = 300.0  # seconds
_THREADS = 16  # of the pages and the API, per process; event streams may use half of them
_ANSWER = 5.0  # seconds an event loop may take to answer
_STOP = 10.0  # seconds a service may take to stop
log = structlog.get_logger(__name__)


def collect_seldom() -> None:
    """Call it once everything is loaded. From then on Python's garbage collector ignores the loaded objects, and looks
    for cycles after 50,000 new objects instead of 700. It took a fifth of the CPU time of a delivery; reference
    counting frees the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def app(hub: OpenHub) -> "Flask":
    """The Flask application: the pages and the API. Loading them takes more time and memory than all other parts."""
    from pbxhub.api import install as install_api
    from pbxhub.web import create_app

    of_hub = installation(hub)
    pages_app = create_app(hub.settings, hub.context, of_hub.guard, of_hub.mail, of_hub.check_pbx)
    install_api(pages_app, _THREADS)
    return pages_app


@contextmanager
def pages(hub: OpenHub, listening_on: socket.socket) -> Iterator[None]:
    """Serves the pages on a bound socket."""
    from pbxhub.http_server import serving

    with serving(app(hub), listening_on, threads=_THREADS, name="pages"):
        yield


@contextmanager
def listening(hub: OpenHub) -> Iterator[None]:
    """Runs the listener: events of Asterisk become stages in the outbox."""
    settings = hub.settings

    def write(reports: Reports, tokens: LeaseTokens) -> None:
        published = publish(hub.context, reports, hub.context.clock(), tokens)
        if traces:
            traces.stages(published.new, hub.context.clock())
        for pbx_id, of_pbx in reports.items():
            for report in of_pbx:
                for stage in report.stages:
                    log.debug(stage.name, call=report.linkedid, pbx=pbx_id, caller=report.caller, dst=report.dst)

    def measured(publisher: Publisher) -> None:
        if settings.metrics:
            stack.callback(REGISTRY.unregister, metrics := ListenerMetrics(lambda: publisher.waiting))
            REGISTRY.register(metrics)

    async def work(stop: asyncio.Event) -> None:
        await listen(
                hub.context, write, settings.stage_memory, stop, settings.data_dir,
                keep_events=settings.keep_call_events > 0, opened=measured,
            )  # fmt: skip

    with ExitStack() as stack, tracing(settings) as traces, event_loop("listener", work) as answers:
        stack.enter_context(beating(hub.context, lambda: {"listener": answers()}))
        yield


@contextmanager
def working(hub: OpenHub) -> Iterator[None]:
    """Runs the worker: sends due deliveries; bulk resends, notices and retention run in the background."""
    settings = hub.settings
    engine: Engine[tuple[Claimed, Prepared | Fetch]] = Engine(guard(hub), settings.workers)
    sender = Sender(guard(hub))
    metrics = WorkerMetrics(REGISTRY if settings.metrics else None)
    stack = ExitStack()
    traces = stack.enter_context(tracing(settings))
    worker = Worker(hub.context, engine, capacity=settings.workers, metrics=metrics, traces=traces)
    renew = _guard_updater(hub, engine, sender)
    renewals = RenewalMetrics(REGISTRY if settings.metrics else None)
    jobs = BackgroundJobs(hub.context, sender, retention(settings), settings.mail, renew, renewals)
    worker.start()
    jobs.start()
    try:
        with beating(hub.context, lambda: {"worker": worker.works(), **jobs.works()}):
            yield
    finally:
        worker.stop()
        jobs.stop()
        stack.close()


@contextmanager
def sending_new(hub: OpenHub) -> Iterator[None]:
    """Runs the sender of `pbxhub listen`: on PostgreSQL, first attempts leave right after the commit of their stage."""
    settings = hub.settings
    if hub.context.database.is_sqlite or not settings.listen_sends:
        yield
        return
    engine: Engine[tuple[Claimed, Prepared | Fetch]] = Engine(guard(hub), settings.workers)
    with tracing(settings) as traces:
        metrics = WorkerMetrics(REGISTRY if settings.metrics else None)
        worker = Worker(
            hub.context, engine, capacity=settings.workers, metrics=metrics, traces=traces, claims=False
        )  # fmt: skip
        worker.start()
        try:
            context, renew = hub.context, _guard_updater(hub, engine)
            changes = ChangeWatch(context.database, context.wakeups)
            with _renewed(partial(changes.read, renew)):
                yield
        finally:
            worker.stop()


def _renewed(renew: Callable[[], None]) -> AbstractContextManager[None]:
    """Calls it every few seconds; while the database is away, the guard stays as it is."""

    def run(stopping: threading.Event) -> None:
        while not stopping.wait(GUARD_EVERY.total_seconds()):
            try:
                renew()
            except (DBAPIError, PoolTimeoutError) as error:
                log.warning("database unavailable; the address guard stays as it is", error=reason(error))
            except Exception:
                log.exception("the address guard could not be renewed; it stays as it is")

    return beside(run, "guard", 2.0)


@contextmanager
def answering(hub: OpenHub) -> Iterator[None]:
    """Runs FastAGI: waiting calls ask webhooks what to do. Raises OSError when the port is in use."""
    settings = hub.settings
    if settings.agi is None:
        yield
        return
    listening_on = bound(*settings.agi, backlog=BACKLOG)
    sender = Sender(guard(hub), capacity=MOST_CALLS)
    questions = QuestionWriter(hub.context)
    sys.setswitchinterval(0.001)  # a caller waits for every thread switch; Python's default of 5 ms would be audible
    try:
        with ThreadPoolExecutor(8, "questions") as threads:
            shared = Shared(hub.context, sender, questions, threads, settings.sounds)
            server = Server(shared, Tokens(hub.context.vault), settings.agi_networks)

            async def work(stop: asyncio.Event) -> None:
                listener = await server.listen(listening_on)
                await stop.wait()
                listener.close()
                await server.close()

            with (
                event_loop("agi", work) as answers,
                beating(hub.context, lambda: {"agi": answers()}),
            ):
                yield
    finally:
        questions.stop()
        sender.close()


def bound(host: str, port: int, backlog: int = 128) -> socket.socket:
    """A listening socket. Raises OSError when the port is in use."""
    return socket.create_server(
        (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=backlog
    )


@contextmanager
def event_loop(name: str, work: Callable[[asyncio.Event], Awaitable[None]]) -> Iterator[Callable[[], bool]]:
    """Runs work(stop) in a thread with its own event loop. On exit sets stop and waits until work returns. Yields a
    function that says whether the loop still runs what it is given."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(_finish(work(stop)))

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()

    def answers() -> bool:
        answered = threading.Event()
        with suppress(RuntimeError):  # the loop is closed: the work has failed
            loop.call_soon_threadsafe(answered.set)
        return answered.wait(_ANSWER)

    try:
        yield answers
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_STOP)


async def _finish(work: Awaitable[None]) -> None:
    await work


@contextmanager
def measuring(hub: OpenHub) -> Iterator[None]:
    """Serves this process's metrics for Prometheus if enabled. Raises OSError when the port is in use."""
    if hub.settings.metrics is None:
        yield
        return
    address, port = hub.settings.metrics
    collectors = (QueueMetrics(hub.context), WatchMetrics(hub.context))
    for collector in collectors:
        REGISTRY.register(collector)
    server, thread = start_http_server(port, address)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_STOP)
        for collector in collectors:
            REGISTRY.unregister(collector)


def _guard_updater(hub: OpenHub, *senders: Engine[tuple[Claimed, Prepared | Fetch]] | Sender) -> Callable[[], None]:
    """Returns a function that gives all of them a new guard: when a PBX was added, removed or moved, and every few
    minutes because the DNS may have changed."""
    known, due = pbx_places(hub), time.monotonic() + _GUARD_LASTS

    def renew() -> None:
        nonlocal known, due
        places = pbx_places(hub)
        if places != known or time.monotonic() > due:
            renewed = guard(hub)
            for sender in senders:
                sender.guard = renewed
            known, due = places, time.monotonic() + _GUARD_LASTS

    return renew
