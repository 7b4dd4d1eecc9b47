"""What history costs on PostgreSQL's disk: WAL of a call, HOT updates, retention, and months as partitions.

python bench/storage.py [--deliveries 100000] [wal] [prune] [beside] [months] [dead]

wal     calls of ten PBXs through a real hub, four stages and four webhooks each; the WAL by table and index, as the
        server's own extension reads it, with the tables as they are and with other storage parameters.
prune   old deliveries, each with its attempt, deleted by the hub's own retention: server CPU, WAL, what VACUUM gives
        back.
beside  latency of a real hub while its retention runs, and while it does not, in turn.
months  the same attempts in partitions by month: what dropping one saves, and what the other statements cost then.
dead    what a delivery costs the server as dead rows gather that nobody vacuums, beside that many old deliveries.

CPU is that of the server's processes; WAL and bytes do not depend on what else the machine does.
"""

import argparse
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from idle import statements_since
from line import Figure, hub, measure
from rig.hub import context_of, populate, report
from rig.pbxs import pbxs
from rig.receiver import receiver

from pbxhub.delivery.context import utc_now
from pbxhub.delivery.outbox import Finished, claim, publish, record
from pbxhub.delivery.prune import prune
from pbxhub.sending.exchange import Answer
from pbxhub.store.ids import first_id_at
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Database, open_database
from pbxhub.testing.hub.postgres import Cluster
from tests.support.outbox_world import KEPT

KEEP_WAL = {"wal_keep_size": "8GB", "max_wal_size": "16GB", "checkpoint_timeout": "1h"}
VARIANTS = {
    "as it is": "",
    "attempt, fillfactor 70": "ALTER TABLE attempt SET (fillfactor = 70)",
    "attempt, fillfactor 50": "ALTER TABLE attempt SET (fillfactor = 50)",
    "attempt and delivery, fillfactor 70": "ALTER TABLE attempt SET (fillfactor = 70);"
    " ALTER TABLE delivery SET (fillfactor = 70)",
}
_BY_RELATION = """
    SELECT coalesce(c.relname, 'other') AS name, sum(w.record_length) AS bytes
      FROM (SELECT record_length, substring(block_ref FROM 'rel [0-9]+/[0-9]+/([0-9]+)')::oid AS file
              FROM pg_get_wal_records_info(%s, %s)) w
      LEFT JOIN pg_class c ON pg_relation_filenode(c.oid) = w.file GROUP BY 1 ORDER BY 2 DESC"""
_UPDATES = "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE n_tup_upd > 100 ORDER BY n_tup_upd"
_SESSIONS = "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()"
_SIZES = """SELECT relname, pg_relation_size(oid), pg_indexes_size(oid) FROM pg_class
             WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY pg_total_relation_size(oid) DESC"""
PARTS = ["wal", "prune", "beside", "months", "dead"]
MONTHS = 12
RATE = 200  # deliveries a second: a busy machine keeps up
YEAR = 2025
OK = Answer("ok", "", 200, (("Server", "nginx"),), total_us=900)


def connect(url: str) -> "psycopg.Connection[Any]":
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def wal_of_a_call(name: str, parameters: str, url: str, seconds: float) -> None:
    settings = KEEP_WAL | {"shared_preload_libraries": "pg_stat_statements"}
    with pbxs(10) as played, hub("postgresql", played, url, settings) as subject, connect(subject.database) as server:
        server.execute(parameters)
        server.execute("CREATE EXTENSION pg_walinspect")
        _calm(lambda: measure(subject, played, url, 20, 2, timeout=120))
        statements, control = statements_since(subject.database, reset=True)
        calls = _count(server, "call")
        _calm(lambda: measure(subject, played, url, 40, 5, timeout=120))
        statements, control = statements_since(subject.database)
        calls = _count(server, "call") - calls
        print(f"{name}: {statements / calls:.0f} statements and {control / calls:.0f} of control a call at 10 calls/s")
        server.execute("SELECT pg_stat_reset()")
        server.execute("CHECKPOINT")
        before, calls = _place(server), _count(server, "call")
        figure = _calm(lambda: measure(subject, played, url, RATE, seconds, timeout=120))
        time.sleep(1.5)  # until the statistics of all sessions have arrived
        after, calls = _place(server), _count(server, "call") - calls
        found = server.execute(_BY_RELATION, (before, after)).fetchall()
        [sessions] = server.execute(_SESSIONS).fetchone() or (0,)
        print(f"  {figure}, {sessions} connections")
        print(f"  {sum(row[1] for row in found) / calls:,.0f} bytes of WAL a call, {calls} calls", flush=True)
        print("  HOT:", ", ".join(f"{table} {hot / all_:.0%}" for table, all_, hot in server.execute(_UPDATES)))
        if not parameters:
            for relation, size in found[:24]:
                print(f"  WAL  {relation:44} {size / calls:8,.0f}")
            every = _count(server, "call")
            for table, heap, indexes in server.execute(_SIZES).fetchmany(9):
                print(f"  disk {table:44} {heap / every:8,.0f} + {indexes / every:7,.0f} of indexes")


def file_of_a_call(url: str, seconds: float) -> None:
    """How much SQLite's file grows."""
    with pbxs(10) as played, hub("sqlite", played, url) as subject:
        open_files = {path.resolve() for pid in subject.pids() for path in Path(f"/proc/{pid}/fd").iterdir()}
        [file] = [path for path in open_files if path.name.endswith((".sqlite3", ".db"))]
        before, calls = _pages(file)
        figure = _calm(lambda: measure(subject, played, url, RATE, seconds, timeout=120))
        after, more = _pages(file)
        print(f"  {figure}\nSQLite: {(after - before) / (more - calls):,.0f} bytes a call, {more - calls} calls")


def _pages(file: Path) -> tuple[int, int]:
    """Bytes in use, those of the write-ahead log among them, and calls."""
    with closing(sqlite3.connect(file)) as connection:
        [[used]] = connection.execute(
            "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count,"
            " pragma_page_size"
        ).fetchall()
        [[calls]] = connection.execute("SELECT count(*) FROM call").fetchall()
    return used, calls


def _place(server: "psycopg.Connection[Any]") -> str:
    [place] = server.execute("SELECT pg_current_wal_insert_lsn()").fetchone() or ("",)
    return str(place)


def _count(server: "psycopg.Connection[Any]", table: str) -> int:
    [number] = server.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
    return int(number)


class Server:
    """A cluster, its database as the hub opens it, and what its processes have used."""

    def __init__(self, cluster: Cluster) -> None:
        self.database: Database = open_database(cluster.url("pbxhub"))
        self.connection = connect(cluster.url("pbxhub"))
        self._cluster = cluster

    def cost(self, name: str, run: Callable[[], object], rows: int) -> None:
        place, cpu, began = _place(self.connection), self.cpu(), time.perf_counter()
        run()
        took, cpu = time.perf_counter() - began, self.cpu() - cpu
        [size] = self.connection.execute(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", (place,)
        ).fetchone() or (0,)
        print(
            f"{name:52} {cpu / rows * 1e6:8.1f} us of the server's CPU, {float(size) / rows:8.1f} bytes of WAL each"
            f"   ({rows} in {took:.1f} s)",
            flush=True,
        )

    def sizes(self, *tables: str) -> str:
        found = []
        for table in tables:
            sizes = "SELECT pg_relation_size(%s), pg_indexes_size(%s)"
            [heap, indexes] = self.connection.execute(sizes, (table, table)).fetchone() or (0, 0)
            found.append(f"{table} {heap / 1e6:.0f} + {indexes / 1e6:.0f} MB")
        return ", ".join(found)

    def cpu(self) -> float:
        pids = [self._cluster.pid, *_children(self._cluster.pid)]
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), durable=True)
        cluster.create(KEEP_WAL | {"autovacuum": "off"})
        cluster.start()
        one = Server(cluster)
        try:
            migrate(one.database)
            yield one
        finally:
            one.connection.close()
            one.database.close()
            cluster.stop()


def fill(connection: "psycopg.Connection[Any]", number: int) -> None:
    """Old calls of a year, four stages and deliveries each, as large as those of the ready-made webhooks."""
    begin = datetime(YEAR, 1, 1, tzinfo=UTC).timestamp() * 1000
    step = 365 * 86_400_000 / number
    key = f"(lpad(to_hex(({begin} + {{}} * {step})::bigint), 12, '0') || '7000' || '8' || lpad(to_hex({{}}), 15, '0'))"
    own, call = key.format("i", "i") + "::uuid", key.format("(i - i % 4)", "(i - i % 4)") + "::uuid"
    day = f"to_timestamp(({begin} + i * {step}) / 1000)"
    numbers = f"generate_series(0, {number - 1}) i"
    project, webhook = "(SELECT min(id) FROM project)", "(SELECT min(id) FROM webhook)"
    headers = (
        "'" + '[["Content-Type","application/json"],["webhook-id","%s"],["User-Agent","pbxhub"]]' % ("x" * 36) + "'"
    )
    answer = "'" + '[["Server","nginx"],["Date","Sat, 28 Nov 2026 10:00:00 GMT"],["Content-Length","2"]]' + "'"
    for statement in (
        f"""INSERT INTO call (id, project_id, linkedid, direction, caller, caller_name, dst, extension, started_on,
            ended_on, disposition, data, answers) SELECT {call}, {project}, i, 'incoming', '+38067' || i, '',
            '380441234567', '101', {day}, {day}, 'ANSWERED', '{{}}', '{{}}' FROM {numbers} WHERE i % 4 = 0""",
        f"""INSERT INTO stage_event (id, project_id, call_id, stage, key, ordinal, created_on, data)
            SELECT {own}, {project}, {call}, 'incoming.after', i, 1, {day}, '{{}}' FROM {numbers}""",
        f"""INSERT INTO delivery (id, project_id, webhook_id, webhook_revision, stage_event_id, call_id, kind, state,
            lane, due_at, attempts, tries, held, out_of_order, method, url, headers, files, body, outcome, message,
            status_code, duration_ms, created_on, finished_on) SELECT {own}, {project}, {webhook}, 1, {own}, {call},
            'stage', 'delivered', 1, {day}, 1, 1, false, false, 'POST', 'https://crm.example.com/calls', {headers},
            '[]', convert_to(repeat('"name":"value",', 20), 'UTF8'), 'ok', '', 200, 40, {day}, {day} FROM {numbers}""",
        f"""INSERT INTO attempt (delivery_id, number, started_on, finished_on, outcome, message, status_code, peer,
            tls_version, request_headers, response_headers, response_body, response_truncated) SELECT {own}, 1, {day},
            {day}, 'ok', '', 200, '192.0.2.1:443', 'TLSv1.3', {headers}, {answer}, 'ok'::bytea, false FROM {numbers}""",
    ):
        connection.execute(statement)
    connection.execute("VACUUM ANALYZE")


def pruned(number: int) -> None:
    with server() as one:
        populate(one.database, ["http://127.0.0.1:9/"])
        fill(one.connection, number)
        print(f"{number} deliveries with attempts: {one.sizes('delivery', 'attempt')}")
        middle = datetime(YEAR, 7, 1, tzinfo=UTC)  # half of them are old then
        one.cost("prune a half, each delivery", lambda: _prune_deliveries(one.database, middle), number // 2)
        print(f"  afterwards: {one.sizes('delivery', 'attempt')}")
        one.cost("VACUUM, each delivery", lambda: one.connection.execute("VACUUM delivery, attempt"), number // 2)
        print(f"  afterwards: {one.sizes('delivery', 'attempt')}")


def _prune_deliveries(database: Database, before: datetime) -> None:
    assert prune(database, before + timedelta(days=30), KEPT, pause=0.0).deliveries


def beside(number: int, url: str, seconds: float, rounds: int = 3) -> None:
    with pbxs(10) as played, hub("postgresql", played, url, KEEP_WAL) as subject, connect(subject.database) as server:
        fill(server, number)
        _calm(lambda: measure(subject, played, url, 20, 2, timeout=120))
        database = open_database(subject.database)
        alone, with_prune = [], []
        for part in range(rounds):
            alone.append(_calm(lambda: measure(subject, played, url, 20, seconds, timeout=120)))
            old = _after(part, rounds) + timedelta(days=30)
            pruning = threading.Thread(target=prune, args=(database, old))
            pruning.start()
            with_prune.append(_calm(lambda: measure(subject, played, url, 20, seconds, timeout=120)))
            print(f"  deleted {'until' if pruning.is_alive() else 'before'} the last request had come", flush=True)
            pruning.join()
        for name, figures in (("without", alone), ("while history is deleted", with_prune)):
            p50, p99 = (sorted(getattr(one, column) for one in figures) for column in ("p50", "p99"))
            print(
                f"{name}: p50 {p50[rounds // 2]:.1f} ms, p99 {p99[rounds // 2]:.1f} ms ({p99[0]:.0f} to {p99[-1]:.0f})"
            )
        database.close()


def _calm(run: Callable[[], Figure]) -> Figure:
    """Again, when the PBXs could not keep the pace."""
    while True:
        try:
            return run()
        except RuntimeError as error:
            print(f"  {error}", flush=True)


def _after(part: int, parts: int) -> datetime:
    """The end of that part of the year."""
    return datetime(YEAR, 1, 1, tzinfo=UTC) + timedelta(days=365 * (part + 1) / parts)


def dead(number: int, rounds: int = 120) -> None:
    with server() as one:
        pbx_id = populate(one.database, ["http://127.0.0.1:9/"] * 4)
        fill(one.connection, number)
        spent = []
        for place in range(rounds + 10):
            cpu = one.cpu()
            _deliver(one.database, pbx_id, place)
            spent.append((one.cpu() - cpu) / 100 * 1e6)
        first, last = statistics.median(spent[10:40]), statistics.median(spent[-30:])
        one.connection.execute("VACUUM")
        after = []
        for place in range(rounds + 10, rounds + 40):
            cpu = one.cpu()
            _deliver(one.database, pbx_id, place)
            after.append((one.cpu() - cpu) / 100 * 1e6)
        print(
            f"publish, claim, record of 100: {first:.0f} us of the server's CPU each after {1000} deliveries without"
            f" VACUUM, {last:.0f} after {rounds * 100}, {statistics.median(after):.0f} after VACUUM",
            flush=True,
        )


def _deliver(database: Database, pbx_id: int, group: int) -> None:
    context = context_of(database)
    publish(context, {pbx_id: [report(f"{group}.{call}") for call in range(25)]}, utc_now())
    with database.write() as session:
        batch = claim(context, session, 100, utc_now())
    with database.write() as session:
        record(context, session, [Finished(one, OK, (), utc_now()) for one in batch.claimed], utc_now())


def months(number: int) -> None:
    with server() as one:
        populate(one.database, ["http://127.0.0.1:9/"])
        fill(one.connection, number)
        some = [row[0] for row in one.connection.execute("SELECT id FROM delivery ORDER BY random() LIMIT 100")]
        newest = [row[0] for row in one.connection.execute("SELECT id FROM delivery ORDER BY id DESC LIMIT 100")]
        _statements(one, "one table", newest, some)
        first = _into_months(one.connection)
        _statements(one, f"{MONTHS + 1} partitions", newest, some)
        [rows] = one.connection.execute(f"SELECT count(*) FROM {first}").fetchone() or (0,)
        one.cost("drop a month, each attempt", lambda: one.connection.execute(f"DROP TABLE {first}"), rows)
        second = first.replace("_01", "_02")
        [rows] = one.connection.execute(f"SELECT count(*) FROM {second}").fetchone() or (0,)
        limits = (first_id_at(datetime(YEAR, 2, 1, tzinfo=UTC)), first_id_at(datetime(YEAR, 3, 1, tzinfo=UTC)))
        delete = "DELETE FROM delivery WHERE id >= %s AND id < %s"
        one.cost(
            "delete a month of deliveries, attempts with them", lambda: one.connection.execute(delete, limits), rows
        )
        one.connection.execute("ALTER TABLE attempt DROP CONSTRAINT fk_attempt_delivery_id_delivery")
        limits = (first_id_at(datetime(YEAR, 3, 1, tzinfo=UTC)), first_id_at(datetime(YEAR, 4, 1, tzinfo=UTC)))
        one.cost("delete a month of deliveries, attempts left", lambda: one.connection.execute(delete, limits), rows)


def _into_months(connection: "psycopg.Connection[Any]") -> str:
    """Replaces attempt by partitions, one for each month and one for all later ones. Returns the name of the first."""
    connection.execute("ALTER TABLE attempt RENAME TO whole")
    connection.execute("ALTER INDEX pk_attempt RENAME TO pk_whole")
    connection.execute(
        "CREATE TABLE attempt (LIKE whole INCLUDING DEFAULTS, CONSTRAINT pk_attempt PRIMARY KEY (delivery_id, number),"
        " CONSTRAINT fk_attempt_delivery_id_delivery FOREIGN KEY (delivery_id) REFERENCES delivery ON DELETE CASCADE)"
        " PARTITION BY RANGE (delivery_id)"
    )
    limits = [first_id_at(datetime(YEAR + month // 12, month % 12 + 1, 1, tzinfo=UTC)) for month in range(MONTHS + 1)]
    for month in range(MONTHS):
        connection.execute(
            f"CREATE TABLE attempt_{month + 1:02} PARTITION OF attempt"
            f" FOR VALUES FROM ('{limits[month]}') TO ('{limits[month + 1]}')"
        )
    connection.execute("CREATE TABLE attempt_rest PARTITION OF attempt DEFAULT")
    connection.execute("INSERT INTO attempt SELECT * FROM whole")
    connection.execute("DROP TABLE whole")
    connection.execute("VACUUM ANALYZE attempt")
    return "attempt_01"


def _statements(one: Server, where: str, newest: list[Any], some: list[Any], rounds: int = 100) -> None:
    """What claim, record and a page do with attempts, 100 at a time."""
    connection = one.connection

    def begin() -> None:
        for number in range(2, rounds + 2):
            rows = ", ".join(["(%s, %s, now(), '', '', '', '', '', '[]', '[]', false)"] * len(newest))
            given = [value for one in newest for value in (one, number)]
            connection.execute(
                "INSERT INTO attempt (delivery_id, number, started_on, outcome, message, peer, tls_version,"
                f" response_body, request_headers, response_headers, response_truncated) VALUES {rows}",
                given,
            )

    def complete() -> None:
        for number in range(2, rounds + 2):
            rows = ", ".join(["(%s::uuid, %s, 'ok')"] * len(newest))
            given = [value for one in newest for value in (one, number)]
            connection.execute(
                f"WITH given(delivery_id, number, outcome) AS (VALUES {rows}) UPDATE attempt SET outcome ="
                " given.outcome FROM given WHERE attempt.delivery_id = given.delivery_id AND attempt.number ="
                " given.number",
                given,
            )

    def read() -> None:
        for _ in range(rounds):
            connection.execute("SELECT * FROM attempt WHERE delivery_id = ANY(%s) AND number = 1", (some,)).fetchall()

    one.cost(f"{where}: insert 100, each", begin, rounds * 100)
    one.cost(f"{where}: complete 100, each", complete, rounds * 100)
    one.cost(f"{where}: read 100 of any month, each", read, rounds * 100)
    connection.execute("DELETE FROM attempt WHERE number > 1")
    connection.execute("VACUUM attempt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS)
    parser.add_argument("--deliveries", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    if "wal" in asked.parts:
        with receiver() as url:
            for name, parameters in VARIANTS.items():
                wal_of_a_call(name, parameters, url, asked.seconds)
            file_of_a_call(url, asked.seconds)
    if "prune" in asked.parts:
        pruned(asked.deliveries)
    if "beside" in asked.parts:
        with receiver() as url:
            beside(asked.deliveries, url, asked.seconds)
    if "dead" in asked.parts:
        dead(asked.deliveries)
    if "months" in asked.parts:
        months(asked.deliveries)


if __name__ == "__main__":
    main()
