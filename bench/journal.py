"""How fast calls are found, counted and exported: python bench/journal.py [calls] (1,000,000) [--plans]

One project with that many calls of half a year, on SQLite and on PostgreSQL. Prints, for each filter of the page Calls,
the median of the server's time for one page of it (--plans: with the plan), then the reports, and the export of 100,000
calls with the memory that it takes.
"""

import random
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from rig.hub import context_of
from sqlalchemy import Table, event, insert

from pbxhub.account.access import Access, CommandLine
from pbxhub.account.call_export import CALL_COLUMNS, exported_calls
from pbxhub.account.call_filter import CallFilter
from pbxhub.account.call_history import ended_calls
from pbxhub.account.call_report import report_calls
from pbxhub.account.exported_text import text_of
from pbxhub.store.accounts import Pbx, Project
from pbxhub.store.ids import first_id_at
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Base, Database, open_database
from pbxhub.testing.hub.postgres import postgres_server

GOAL_MS = 60
ROUNDS = 7
EXPORTED = 100_000
STEP = 20_000
NOW = datetime.now(UTC)
DATA = {"billsec": 49, "legs": [{"number": "101", "status": "ANSWERED"}] * 8, "channel": "PJSIP/anna2-00000001"}
RECENT = NOW - timedelta(days=7)
FILTERS = {
    "all": CallFilter(),
    "a week": CallFilter(since=RECENT),
    "incoming": CallFilter(direction="incoming"),
    "not answered": CallFilter(disposition="NO ANSWER"),
    "missed": CallFilter(result="missed"),
    "a rare ending": CallFilter(disposition="VOICEMAIL"),
    "an ending that none has": CallFilter(disposition="NOWHERE"),
    "an employee": CallFilter(extensions=("117",)),
    "an employee, rare ending": CallFilter(extensions=("117",), disposition="VOICEMAIL"),
    "an extension without calls": CallFilter(extensions=("999",)),
    "a DID": CallFilter(did="+38 (044) 123-45-67"),
    "a DID, long talks": CallFilter(did="380441234567", least_talk=1200),
    "a number": CallFilter(number="+380670000123"),
    "the end of a number": CallFilter(number="0000123"),
    "a number, for programs": CallFilter(number="067 000 01 23", whole_number=True),
    "a number without calls": CallFilter(number="0990000000", whole_number=True),
    "talk of a minute": CallFilter(least_talk=60),
    "talk of 20 minutes": CallFilter(least_talk=1200),
    "talk that none has": CallFilter(least_talk=99_999),
    "short talks, a week": CallFilter(least_talk=1, most_talk=3, since=RECENT),
    "recorded": CallFilter(recorded=True),
    "not answered, recorded": CallFilter(disposition="NO ANSWER", recorded=True),
}


def main(calls: int, plans: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, postgres_server(durable=True) as url:
        for kind, address in (("SQLite", f"sqlite:///{folder}/calls.sqlite3"), ("PostgreSQL", url)):
            database = open_database(address)
            migrate(database)
            began = time.perf_counter()
            fill(database, calls)
            print(f"{kind}: {calls} calls filled in {time.perf_counter() - began:.0f} s", flush=True)
            measure(database, plans)
            database.close()


def measure(database: Database, plans: bool) -> None:
    with database.read() as session:
        access = Access(session.get_one(Project, 1), CommandLine(), frozenset(), context_of(database))  # type: ignore[arg-type]
    for name, wanted in FILTERS.items():
        with database.read() as session:
            took = [timed(lambda wanted=wanted: ended_calls(session, access, wanted, None, 51)) for _ in range(ROUNDS)]
        median = statistics.median(took)
        print(f"  {name:28} {median:7.1f} ms{'' if median <= GOAL_MS else f'   over {GOAL_MS} ms'}", flush=True)
        if plans:
            explain(database, access, wanted)
    for days in (1, 7, 30, 180):
        with database.read() as session:
            wanted = CallFilter(since=NOW - timedelta(days=days))
            ms = min(timed(lambda wanted=wanted: report_calls(session, access, wanted, "employee")) for _ in range(3))
        print(f"  report of {days:3} days          {ms:8.1f} ms", flush=True)
    for kind in ("csv", "jsonl"):
        export(database, access, kind)


def timed(ask: Any) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


def explain(database: Database, access: Access, wanted: CallFilter) -> None:
    heard: list[tuple[str, Any]] = []

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        heard.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", hear)
    with database.read() as session:
        ended_calls(session, access, wanted, None, 51)
        event.remove(database.engine, "before_cursor_execute", hear)
        how = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        for row in session.connection().exec_driver_sql(f"{how} {heard[-1][0]}", heard[-1][1]):
            print(f"      {row[-1]}", flush=True)


def export(database: Database, access: Access, kind: str) -> None:
    began = time.perf_counter()
    size = exported_size(database, access, kind)
    seconds = time.perf_counter() - began
    tracemalloc.start()
    exported_size(database, access, kind)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(
        f"  export of {EXPORTED} as {kind}: {seconds:.1f} s, {size / 1e6:.1f} MB, memory {peak / 1e6:.1f} MB",
        flush=True,
    )


def exported_size(database: Database, access: Access, kind: str) -> int:
    rows = islice(exported_calls(database, access, CallFilter()), EXPORTED)
    return sum(len(piece.encode()) for piece in text_of(kind, CALL_COLUMNS, rows))


def fill(database: Database, calls: int) -> None:
    table: Table = Base.metadata.tables["call"]
    with database.write() as session:
        session.add(Project(id=1, name="Busy", time_zone="Europe/Kyiv", country="UA", created_on=NOW))
        session.flush()
        session.add(Pbx(id=1, project_id=1, name="P", host="h", username="u", secret_sealed="", created_on=NOW))
    rows = made(calls)
    while part := list(islice(rows, STEP)):
        with database.engine.begin() as connection:
            connection.execute(insert(table), part)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not database.is_sqlite:  # PostgreSQL does it by itself; a hub on SQLite never has statistics
            connection.exec_driver_sql("VACUUM ANALYZE call")


def made(calls: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(1)
    step = timedelta(days=180) / calls
    for number in range(calls):
        began = NOW - step * (calls - number)
        own = UUID(int=first_id_at(began).int | (0x7 << 76) | (0b10 << 62) | number)
        direction = chance.choices(("incoming", "outgoing", "internal"), (70, 25, 5))[0]
        ending = chance.choices(("ANSWERED", "NO ANSWER", "BUSY", "VOICEMAIL"), (75, 20, 4.99, 0.01))[0]
        talk = int(chance.expovariate(1 / 120)) if ending == "ANSWERED" else 0
        other = f"+38067{number % 300_000:07}"
        yield {
            "id": own, "project_id": 1, "pbx_id": 1, "linkedid": str(number), "direction": direction, "caller": other,
            "person": other, "caller_name": "", "dst": "380441234567" if number % 3 else "380445556677",
            "extension": str(100 + number % 50), "started_on": began, "answered_on": began if talk else None,
            "ended_on": began + timedelta(seconds=talk), "disposition": ending, "talk": talk, "wait": number % 40,
            "recorded": bool(talk and number % 2), "data": DATA, "answers": {},
        }  # fmt: skip


if __name__ == "__main__":
    rest = [argument for argument in sys.argv[1:] if argument.isdigit()]
    main(int(rest[0]) if rest else 1_000_000, "--plans" in sys.argv)
