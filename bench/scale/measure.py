"""Measures the unit costs of the steps on this machine.

Time during which a thread was ready to run and got no core (/proc/*/schedstat) is taken out, so that a busy machine
measures nearly what a quiet one does.
"""

import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rig.hub import VAULT, context_of, databases, populate, report
from sqlalchemy import event, text

from bench.scale.unit_costs import FEW, MANY, WEBHOOKS, Cost, Spent, values
from pbxhub.delivery.context import utc_now
from pbxhub.delivery.outbox import Batch, Finished, claim, publish, record
from pbxhub.delivery.prepare import prepare
from pbxhub.sending.exchange import Answer
from pbxhub.store.session import Database

ANSWER = Answer(
    "ok", "", 204, (("Server", "bench"),), dns_us=0, connect_us=0, tls_us=0, first_byte_us=900, total_us=1000,
    peer="127.0.0.1:80",
)  # fmt: skip


class _Meter:
    """Measures the transactions of one thread on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._native = 0.0
        self._trips = 0
        self._server = server_of(database)
        event.listen(database.engine, "before_cursor_execute", self._count)
        if database.is_sqlite:
            event.listen(database.engine, "do_connect", self._time_the_driver)
            database.engine.dispose()

    def _count(self, *_: object) -> None:
        self._trips += 1

    def _time_the_driver(self, _dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
        meter = self

        class Cursor(sqlite3.Cursor):
            def execute(self, *arguments: Any) -> Any:
                with meter.native():
                    return super().execute(*arguments)

            def executemany(self, *arguments: Any) -> Any:
                with meter.native():
                    return super().executemany(*arguments)

        class Connection(sqlite3.Connection):
            def cursor(self, factory: Any = Cursor) -> Any:
                return super().cursor(factory)

            def commit(self) -> None:
                with meter.native():
                    super().commit()

        options["factory"] = Connection

    @contextmanager
    def native(self) -> Iterator[None]:
        began = time.thread_time()
        try:
            yield
        finally:
            self._native += time.thread_time() - began

    def spent(self, run: Callable[[], Any]) -> tuple[Spent, Any]:
        native, trips = self._native, self._trips
        server, server_waited = self._scheduled(self._server)
        thread = threading.get_native_id()
        _, waited = self._scheduled([thread], "/proc/self/task")
        cpu, began = time.thread_time(), time.perf_counter()
        result = run()
        wall, cpu = time.perf_counter() - began, time.thread_time() - cpu
        native, trips = self._native - native, self._trips - trips + 1  # and the commit
        server_after, server_waited_after = self._scheduled(self._server)
        waited = self._scheduled([thread], "/proc/self/task")[1] - waited + server_waited_after - server_waited
        server = server_after - server
        return Spent(cpu - native, native, server, max(0.0, wall - cpu - server - waited), trips), result

    def _scheduled(self, pids: list[int], folder: str = "/proc") -> tuple[float, float]:
        """Seconds on a core, and seconds without one."""
        ran = waited = 0
        for pid in pids:
            got, stood, _ = Path(f"{folder}/{pid}/schedstat").read_text().split()
            ran, waited = ran + int(got), waited + int(stood)
        return ran / 1e9, waited / 1e9


def server_of(database: Database) -> list[int]:
    """The process of PostgreSQL that serves this thread's connection."""
    if database.is_sqlite:
        return []
    with database.write() as session:
        return [session.execute(text("SELECT pg_backend_pid()")).scalar_one()]


def measure(kind: str, rounds: int = 40) -> tuple[Cost, Cost, Cost]:
    """Publish, claim and record. Medians of so many rounds, in turn."""
    with databases(kind) as database:
        meter = _Meter(database)
        pbx_id = populate(database, ["http://127.0.0.1:9/"] * WEBHOOKS)
        for _ in range(5):
            _round(meter, database, pbx_id, MANY)
        found = {size: [_round(meter, database, pbx_id, size) for _ in range(rounds)] for size in (FEW, MANY)}
        cold = []
        for _ in range(rounds // 2):
            time.sleep(0.1)
            cold.append(_round(meter, database, pbx_id, FEW, pause=0.1))
        return tuple(  # type: ignore[return-value]
            Cost(_median(found[FEW], step), _median(found[MANY], step), _median(cold, step)) for step in range(3)
        )


def _median(rounds: list[tuple[Spent, Spent, Spent]], step: int) -> Spent:
    columns = zip(*(values(one[step]) for one in rounds), strict=True)
    return Spent(*(statistics.median(column) for column in columns))


_numbers = iter(range(10**9))


def _round(
    meter: _Meter, database: Database, pbx_id: int, calls: int, pause: float = 0.0
) -> tuple[Spent, Spent, Spent]:
    context = context_of(database)
    reports = [report(f"cost.{next(_numbers)}") for _ in range(calls)]
    published, _ = meter.spent(lambda: publish(context, {pbx_id: reports}, utc_now()))
    time.sleep(pause)
    claimed, batch = meter.spent(lambda: _claim(database))
    assert len(batch.claimed) == calls * WEBHOOKS
    for one in batch.claimed:
        prepare(VAULT, one, utc_now())
    ended = [Finished(one, ANSWER, (("webhook-id", str(one.id)),), utc_now()) for one in batch.claimed]
    time.sleep(pause)
    recorded, _ = meter.spent(lambda: _record(database, ended))
    return published, claimed, recorded


def _claim(database: Database) -> Batch:
    with database.write() as session:
        return claim(context_of(database), session, 100, utc_now())


def _record(database: Database, ended: list[Finished]) -> None:
    with database.write() as session:
        record(context_of(database), session, ended, utc_now())
