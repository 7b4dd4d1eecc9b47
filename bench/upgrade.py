"""What an upgrade costs: python bench/upgrade.py [sqlite] [postgresql] [--calls 100000]

A database as 0.1.0 left it (that of tests/test_upgrade_a_release.py) gets that many more calls, each with five
deliveries, their stages and attempts, and ten events. Then `pbxhub migrate` runs. Prints its seconds, its CPU seconds
(of the command, not of the PostgreSQL server), and fails when a row is missing afterwards.
"""

import argparse
import gzip
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psycopg
from old_rows import counted, key
from sqlalchemy import inspect, text

from pbxhub.store.schema_revision import is_current
from pbxhub.store.session import Database, open_database
from pbxhub.testing.hub.postgres import postgres_server

RELEASE = "0.1.0"
DUMPS = Path(__file__).parents[1] / "tests" / "releases"
DELIVERIES, EVENTS = 5, 10  # of each call
STEP = 20_000  # calls of one transaction
ONE = {  # the row of each table that is copied
    "call": "ended_on IS NOT NULL",
    "stage_event": "call_id IS NOT NULL",
    "delivery": "state = 'delivered' AND call_id IS NOT NULL",
    "attempt": "outcome = 'ok'",
    "event": "call_id IS NOT NULL",
}
SECRET_KEY = "a" * 43 + "="  # of the dumps, see tests/support/fill_release.py


def main(kinds: list[str], calls: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        if "sqlite" in kinds:
            upgrade(restored_sqlite(Path(name)), Path(name), calls)
        if "postgresql" in kinds:
            with postgres_server(durable=True) as url:
                upgrade(restored_postgresql(url), Path(name), calls)


def restored_sqlite(folder: Path) -> str:
    dump = gzip.decompress((DUMPS / f"{RELEASE}.sqlite.sql.gz").read_bytes())
    with closing(sqlite3.connect(folder / "hub")) as file:
        file.executescript(dump.decode())
    return f"sqlite:///{folder}/hub"


def restored_postgresql(url: str) -> str:
    dump = gzip.decompress((DUMPS / f"{RELEASE}.postgresql.sql.gz").read_bytes())
    with psycopg.connect(url.replace("+psycopg", "")) as server:
        server.execute(dump)
    return url


def upgrade(url: str, folder: Path, calls: int) -> None:
    database = open_database(url)
    kind = database.engine.dialect.name
    for first in range(0, calls, STEP):
        fill(database, first, min(first + STEP, calls))
    before, size = rows(database), bytes_of(database)
    database.close()  # a migration is refused while others use the database
    took, cpu = migrated(url, folder)
    database = open_database(url)
    assert is_current(database)
    assert rows(database) == before, (before, rows(database))
    database.close()
    load = os.getloadavg()[0]
    print(f"{kind}: {size / 1e9:.2f} GB, {before}", flush=True)
    print(f"{kind}: pbxhub migrate took {took:.1f} s, {cpu:.1f} s of CPU; load {load:.1f}", flush=True)


def migrated(url: str, folder: Path) -> tuple[float, float]:
    """Runs the command; the seconds and the CPU seconds that it took, Python's start included."""
    variables = {"PBXHUB_DATABASE_URL": url, "PBXHUB_DATA_DIR": str(folder), "PBXHUB_SECRET_KEY": SECRET_KEY}
    used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "pbxhub", "migrate"], env={**os.environ, **variables}, check=True)
    now, took = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    return took, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def fill(database: Database, first: int, last: int) -> None:
    """Calls first to last, each row a copy of one of that table but for its ids."""
    own, of_call = key("i", database), key(f"i - i % {DELIVERIES}", database)
    each = counted(database, first * DELIVERIES, last * DELIVERIES)
    copied = {
        "call": (each, {"id": own, "linkedid": "'old.' || i"}, f"i % {DELIVERIES} = 0"),
        "stage_event": (each, {"id": own, "call_id": of_call, "key": "'old.' || i"}, "true"),
        "delivery": (
            each, {"id": own, "stage_event_id": own, "call_id": of_call, "sequence_id": of_call}, "true",
        ),
        "attempt": (each, {"delivery_id": own}, "true"),
        "event": (
            counted(database, first * EVENTS, last * EVENTS),
            {"call_id": key(f"i / {EVENTS} * {DELIVERIES}", database)}, "true",
        ),
    }  # fmt: skip
    with database.write() as session:
        for table, (numbers, changed, which) in copied.items():
            session.execute(text(copies(database, table, numbers, changed, which)))


def copies(database: Database, table: str, numbers: str, changed: dict[str, str], which: str) -> str:
    names = [column["name"] for column in inspect(database.engine).get_columns(table)]
    if table == "event":
        names.remove("id")  # which the database gives
    values = ", ".join(changed.get(name, f'one."{name}"') for name in names)
    one = f'(SELECT * FROM "{table}" WHERE {ONE[table]} LIMIT 1)'
    into = ", ".join(f'"{name}"' for name in names)
    return f'INSERT INTO "{table}" ({into}) SELECT {values} FROM {numbers} AS numbers, {one} AS one WHERE {which}'


def rows(database: Database) -> dict[str, int]:
    with database.read() as session:
        return {name: session.scalar(text(f'SELECT count(*) FROM "{name}"')) or 0 for name in ONE}


def bytes_of(database: Database) -> int:
    pages = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    with database.read() as session:
        return session.scalar(text(pages if database.is_sqlite else "SELECT pg_database_size(current_database())")) or 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help="sqlite, postgresql; both by default")
    parser.add_argument("--calls", type=int, default=100_000)
    given = parser.parse_args()
    main(given.kinds or ["sqlite", "postgresql"], given.calls)
