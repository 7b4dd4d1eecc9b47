"""Figures of the outbox: publish, claim, send, record, beside a plain script in the same run.

line.py measures the whole way, from the socket.

python bench/outbox.py [sqlite|postgresql] … [--rows 1000000]

The receiver runs in a process of its own. The publisher is a thread of the hub's process that writes what waits in
groups, as the listener does. CPU is that of the hub's process alone: it says what a delivery costs even while others
use the machine. The plain script does what 30 lines of panoramisk and requests do: it reads an event and posts it,
one after the other, and stores nothing.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
import threading
import time
from collections import deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import requests
from panoramisk.message import Message
from rig.hub import context_of, databases, delivered, is_waiting, populate, report, working
from rig.receiver import arrivals, receiver
from sqlalchemy import select, text

from pbxhub.delivery.context import utc_now
from pbxhub.delivery.outbox import claim, publish
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.session import Database, open_database

WEBHOOKS = 4
CALLS = 2500
GROUP = 200  # as the listener's outlet
EVENT = "Event: Newchannel\r\nPrivilege: call,all\r\nChannel: PJSIP/trunk-0000002a\r\nCallerIDNum: 380441234567\r\n" * 3


def plain_script(url: str, number: int) -> float:
    """Requests per second."""
    started = time.perf_counter()
    for call in range(number):
        event = Message.from_line(EVENT)
        body = {"event": "incoming.before", "call_id": str(call), "caller": event.CallerIDNum, "dst": "380445556677"}
        requests.post(f"{url}/hook", json=body, timeout=10)
    return number / (time.perf_counter() - started)


def throughput(database: Database, pbx_id: int, url: str) -> tuple[float, float]:
    """Persisted deliveries per second from the first publish to the last record, and microseconds of CPU for each."""
    before, count = delivered(database), CALLS * WEBHOOKS
    with working(database, url):
        started, cpu = time.perf_counter(), time.process_time()
        for first in range(0, CALLS, GROUP):
            calls = [report(f"fast.{before}.{first + number}") for number in range(min(GROUP, CALLS - first))]
            publish(context_of(database), {pbx_id: calls}, utc_now())
        while is_waiting(database):
            time.sleep(0.01)
        taken, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert delivered(database) == before + count
    return count / taken, cpu / count * 1e6


class Publisher:
    """Takes calls at any time and publishes what waits in one transaction, like the listener's outlet."""

    def __init__(self, database: Database, pbx_id: int) -> None:
        self._database = database
        self._pbx_id = pbx_id
        self._waiting: deque[str] = deque()
        self._filled = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, call: str) -> None:
        with self._filled:
            self._waiting.append(call)
            self._filled.notify()

    def close(self) -> None:
        self.put("")
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._filled:
                self._filled.wait_for(lambda: self._waiting)
                calls = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
            if known := [report(call) for call in calls if call]:
                publish(context_of(self._database), {self._pbx_id: known}, utc_now())
            if "" in calls:
                return


def latency(database: Database, pbx_id: int, url: str, rate: float, webhooks: int, seconds: float) -> list[float]:
    """Sorted milliseconds from the event to the request received, at `rate` deliveries per second."""
    arrivals(url)
    started: dict[str, float] = {}
    run = f"{time.time():.3f}"
    with working(database, url):
        time.sleep(0.3)
        publisher = Publisher(database, pbx_id)
        begin = time.perf_counter()
        for number in range(int(rate * seconds / webhooks)):
            time.sleep(max(0.0, begin + number * webhooks / rate - time.perf_counter()))
            call = f"{run}.{number}"
            started[call] = time.time()
            publisher.put(call)
        publisher.close()
        time.sleep(1.0)
    there = arrivals(url)
    with database.read() as session:
        rows = session.execute(select(Delivery.id, Delivery.body, Delivery.url)).all()
    calls = {str(row.id): json.loads(row.body)["call_id"] for row in rows if "/hang" not in row.url}
    return sorted((at - started[calls[one]]) * 1000 for one, at in there.items() if calls.get(one) in started)


def p50_p99(taken: list[float]) -> tuple[float, float]:
    return taken[len(taken) // 2], taken[min(len(taken) - 1, len(taken) * 99 // 100)]


def hanging(kind: str, url: str) -> tuple[float, float]:
    """p99 in milliseconds of 19 receivers at 200 deliveries/s: all well, and beside one that never answers."""
    found = []
    for last in ("hook", "hang"):
        with databases(kind) as database:
            pbx_id = populate(database, [*[f"{url}/hook"] * 19, f"{url}/{last}"], in_flight=8)
            found.append(statistics.median(p50_p99(latency(database, pbx_id, url, 200, 20, 5))[1] for _ in range(3)))
    return found[0], found[1]


def memory(kind: str, url: str) -> float:
    """Bytes of the process for each delivery that waits behind receivers that hang."""
    with databases(kind) as database:
        pbx_id = populate(database, [f"{url}/hang"] * WEBHOOKS)
        with working(database, url):
            publish(context_of(database), {pbx_id: [report(f"warm.{number}") for number in range(500)]}, utc_now())
            time.sleep(2.0)
            before = _resident()
            for group in range(25):
                publish(context_of(database), {pbx_id: [report(f"{group}.{n}") for n in range(GROUP)]}, utc_now())
            return max(0, _resident() - before) / (25 * GROUP * WEBHOOKS)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def claim_cost(kind: str, rows: int) -> tuple[float, float]:
    """Milliseconds of CPU of a claim of 100, in an empty table and beside that many delivered rows."""
    costs = []
    for old in (0, rows):
        with databases(kind) as database:
            pbx_id = populate(database, ["http://127.0.0.1:9/"] * WEBHOOKS)
            publish(context_of(database), {pbx_id: [report("old")]}, utc_now())
            _add_delivered(database, old)
            publish(context_of(database), {pbx_id: [report(f"new.{number}") for number in range(1000)]}, utc_now())
            costs.append(statistics.median(_claim_once(database) for _ in range(30)))
    return costs[0], costs[1]


def _add_delivered(database: Database, rows: int) -> None:
    """Copies of one delivered row; the ids sort before all others."""
    new_id = "printf('%032x', n)" if database.is_sqlite else "lpad(to_hex(n), 32, '0')::uuid"
    names = [column.name for column in Delivery.__table__.columns]
    values = {name: name for name in names} | {"id": new_id, "stage_event_id": "NULL", "state": "'delivered'"}
    numbers = f"WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {rows})"
    with database.write() as session:
        if rows:
            session.execute(
                text(
                    f"INSERT INTO delivery ({', '.join(names)}) {numbers} SELECT {', '.join(values[n] for n in names)}"
                    " FROM g, (SELECT * FROM delivery LIMIT 1) d"
                )
            )
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE delivery")


def _claim_once(database: Database) -> float:
    """Wall on PostgreSQL, whose work is in another process."""
    clock = time.process_time if database.is_sqlite else time.perf_counter
    with database.write() as session:
        began = clock()
        claim(context_of(database), session, 100, utc_now())
        return (clock() - began) * 1000


def work(database_url: str, url: str, stop: "multiprocessing.synchronize.Event") -> None:
    """One worker process."""
    database = open_database(database_url)
    with working(database, url):
        stop.wait()


def processes(url: str, number: int) -> float:
    """Deliveries per second out of a full queue by that many worker processes on PostgreSQL."""
    context = multiprocessing.get_context("spawn")
    with databases("postgresql") as database:
        pbx_id = populate(database, [f"{url}/hook"] * WEBHOOKS)
        for group in range(10):
            publish(context_of(database), {pbx_id: [report(f"{group}.{n}") for n in range(GROUP)]}, utc_now())
        stop = context.Event()
        address = database.engine.url.render_as_string(hide_password=False)
        workers = [context.Process(target=work, args=(address, url, stop)) for _ in range(number)]
        for one in workers:
            one.start()
        while (first := delivered(database)) == 0:
            time.sleep(0.005)
        started = time.perf_counter()
        while is_waiting(database):
            time.sleep(0.01)
        speed = (10 * GROUP * WEBHOOKS - first) / (time.perf_counter() - started)
        stop.set()
        for one in workers:
            one.join()
        return speed


def show(name: str, pattern: str, *figures: float) -> None:
    print(f"{name:46} {pattern.format(*figures):60} load {os.getloadavg()[0]:.1f}", flush=True)


def measure(kind: str, fast: str, slow: str, rows: int) -> None:
    """Every figure of one kind of database."""
    with databases(kind) as database:
        pbx_id = populate(database, [f"{fast}/hook"] * WEBHOOKS)
        runs = [(throughput(database, pbx_id, fast), plain_script(fast, 300)) for _ in range(3)]
        speed = statistics.median(run[0][0] for run in runs)
        cpu = statistics.median(run[0][1] for run in runs)
        ratio = statistics.median(run[0][0] / run[1] for run in runs)
        show(f"{kind}: fast receiver", "{:.0f} /s, {:.0f} us CPU each, {:.1f} x the script", speed, cpu, ratio)
        for rate in (40.0, 400.0, speed / 2):
            taken = p50_p99(latency(database, pbx_id, fast, rate, WEBHOOKS, 4.0))
            show(f"{kind}: event to request at {rate:.0f}/s", "p50 {:.1f} ms, p99 {:.1f} ms", *taken)
    with databases(kind) as database:
        pbx_id = populate(database, [f"{slow}/hook"] * WEBHOOKS)
        show(f"{kind}: 200 ms receiver", "{:.0f} /s, {:.0f} us CPU each", *throughput(database, pbx_id, slow))
    show(f"{kind}: p99 of 19, all well / one hangs", "{:.1f} / {:.1f} ms", *hanging(kind, fast))
    show(f"{kind}: memory of a pending delivery", "{:.0f} bytes", memory(kind, fast))
    show(f"{kind}: claim of 100, empty / {rows} old rows", "{:.2f} / {:.2f} ms", *claim_cost(kind, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    chosen = parser.parse_args()
    with receiver() as fast, receiver(0.2) as slow:
        script = statistics.median(plain_script(fast, 300) for _ in range(3))
        show("plain script, fast receiver", "{:.0f} requests/s", script)
        for kind in chosen.kinds:
            measure(kind, fast, slow, chosen.rows)
        if "postgresql" in chosen.kinds:
            for number in (1, 2, 4):
                show(f"postgresql: {number} worker processes", "{:.0f} /s", processes(fast, number))


if __name__ == "__main__":
    main()
