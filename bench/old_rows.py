"""What history costs: python bench/old_rows.py [old deliveries] (1,000,000; the goal is meant for 10,000,000)

Two databases of each kind are asked in turn, one as good as empty (the 51 failures that fill a page of the error check
and their calls) and one with that many old deliveries: a publish of 25 calls with 4 deliveries each, a claim of 100 due
deliveries and their recording, each with its commit, the first page of the error check, and what a call card reads.
Nobody runs ANALYZE; PostgreSQL's autovacuum is on. Prints medians and ratios.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from flask import Flask
from rig.hub import context_of, report
from sqlalchemy import select, text

from pbxhub.account.deliveries import listed
from pbxhub.delivery.outbox import Finished, Selection, claim, publish, publish_other, record
from pbxhub.sending.exchange import Answer
from pbxhub.store.accounts import Pbx, Project
from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.history import StageEvent
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Database, open_database
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.hub.postgres import postgres_server
from pbxhub.webhooks.spec import Limits, RequestSpec, WebhookSpec

GOAL = 1.2
ROUNDS = 40
WEBHOOKS = 20
DUE = 100  # deliveries of one claim
CALLS = 25  # of one publish
FEW = 255  # old deliveries of the small database: one in five is an unchecked failure
STEP = 1_000_000  # rows of one insert
NOW = datetime.now(UTC)
OK = Answer("ok", "", 200, body=b"ok", total_us=1500)
_PAGE = Flask(__name__)


def main(old: int) -> None:
    print(f"{old} old deliveries against {FEW}, medians of {ROUNDS}, in ms")
    with tempfile.TemporaryDirectory() as folder, postgres_server(durable=True) as url:
        server = url.rpartition("/")[0]
        admin = open_database(f"{server}/postgres")
        with admin.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("CREATE DATABASE old"))
        admin.close()
        compare("SQLite", f"sqlite:///{folder}/none.sqlite3", f"sqlite:///{folder}/old.sqlite3", old)
        for path in Path(folder).glob("*.sqlite3*"):
            path.unlink()
        compare("PostgreSQL", f"{server}/pbxhub", f"{server}/old", old)


def compare(kind: str, empty: str, full: str, old: int) -> None:
    with opened(empty, FEW, 5) as few, opened(full, old, 500) as many:
        cases: dict[str, Callable[[Database], float]] = {
            "publish of 25": published, "claim of 100": claimed, "record of 100": recorded,
            "error check": error_page, "call card": call_card,
        }  # fmt: skip
        for name, ask in cases.items():
            took: tuple[list[float], list[float]] = ([], [])
            for _ in range(ROUNDS):  # in turn, so that a busy moment of the machine hits both
                for database, times in zip((few, many), took, strict=True):
                    times.append(ask(database))
            without, with_old = map(statistics.median, took)
            ratio = with_old / without
            verdict = "" if name in ("error check", "call card") else f"goal {GOAL}"
            print(f"  {kind:10} {name:13} {without:7.2f} -> {with_old:7.2f}   x {ratio:.2f}  {verdict}", flush=True)


@contextmanager
def opened(url: str, old: int, unchecked: int) -> Iterator[Database]:
    """A migrated database with the account and that many old deliveries."""
    database = open_database(url)
    migrate(database)
    with database.write() as session:
        project = Project(id=1, name="Busy", created_on=NOW)
        session.add(project)
        session.flush()
        session.add(Pbx(id=1, project_id=1, name="P", host="h", username="u", secret_sealed="", created_on=NOW))
        what = WebhookSpec(RequestSpec(url="https://crm.example.com/calls"), limits=Limits(in_flight=100))
        stages = ["form.sent"] * WEBHOOKS + ["incoming.before"] * (DUE // CALLS)
        for number, stage in enumerate(stages, 1):
            session.add(Webhook(id=number, project_id=1, name=f"W{number}", stage=stage, spec=what, created_on=NOW))
    began = time.perf_counter()
    fill(database, old, unchecked)
    print(f"  {database.engine.dialect.name}: {old} filled in {time.perf_counter() - began:.0f} s", flush=True)
    with ExitStack() as stack:
        stack.callback(database.close)
        yield database


def key(number: str, database: Database) -> str:
    """An id of the past, in SQL: they sort by their number."""
    if database.is_sqlite:
        return f"('0190' || printf('%028x', {number}))"
    return f"('0190' || lpad(to_hex({number}), 28, '0'))::uuid"


def fill(database: Database, old: int, unchecked: int, webhooks: int = WEBHOOKS) -> None:
    """Five deliveries of each call, each with its attempt; one in 50 at least has failed, one in `unchecked` shows.
    They are of the first project and PBX and of so many webhooks, which are there."""
    for first in range(0, old, STEP):
        numbers = counted(database, first, min(first + STEP, old))
        with database.write() as session:
            for statement in statements(database, numbers, unchecked, webhooks):
                session.execute(text(statement), {"day": stored(database)})


def counted(database: Database, first: int, last: int) -> str:
    """The numbers from first up to last as a table with a column i, in SQL."""
    if database.is_sqlite:
        more = f"SELECT i + 1 FROM n WHERE i + 1 < {last}"
        return f"(WITH RECURSIVE n(i) AS (VALUES ({first}) UNION ALL {more}) SELECT i FROM n)"
    return f"(SELECT i FROM generate_series({first}, {last - 1}) i)"


def stored(database: Database) -> object:
    """A day in the past as the column keeps it."""
    day = NOW - timedelta(days=20)
    return round(day.timestamp() * 1_000_000) if database.is_sqlite else day


def statements(database: Database, numbers: str, unchecked: int, webhooks: int) -> Iterator[str]:
    call, own = key("i - i % 5", database), key("i", database)
    no, blob = ("0", "x'7b7d'") if database.is_sqlite else ("false", "'{}'::bytea")
    yield f"""INSERT INTO call (id, project_id, pbx_id, linkedid, direction, caller, caller_name, dst, extension,
        started_on, answered_on, ended_on, disposition, data, answers)
        SELECT {call}, 1, 1, i, 'incoming', '+38067' || i, '', '380441234567', '101', :day, :day, :day, 'ANSWERED',
        '{{}}', '{{}}' FROM {numbers} AS numbers WHERE i % 5 = 0"""
    yield f"""INSERT INTO stage_event (id, project_id, call_id, stage, key, ordinal, created_on, data)
        SELECT {own}, 1, {call}, 'incoming.after', i, 1, :day, '{{}}' FROM {numbers} AS numbers"""
    failed = f"CASE WHEN i % {min(unchecked, 50)} = 0 THEN {{}} ELSE {{}} END".format
    yield f"""INSERT INTO delivery (id, project_id, webhook_id, webhook_revision, stage_event_id, call_id, kind, state,
        lane, due_at, attempts, tries, held, out_of_order, method, url, headers, body, outcome, message, status_code,
        duration_ms, created_on, finished_on, checked_on)
        SELECT {own}, 1, i % {webhooks} + 1, 1, {own}, {call}, 'stage', {failed("'failed'", "'delivered'")}, 1, :day, 1,
        1, {no}, {no}, 'POST', 'https://crm.example.com/calls', '[]', {blob}, {failed("'http_5xx'", "'ok'")}, '',
        {failed("500", "200")}, 40, :day, :day, CASE WHEN i % {unchecked} = 0 THEN NULL ELSE :day END
        FROM {numbers} AS numbers"""
    yield f"""INSERT INTO attempt (delivery_id, number, started_on, finished_on, outcome, message, status_code, peer,
        tls_version, request_headers, response_headers, response_body, response_truncated)
        SELECT {own}, 1, :day, :day, 'ok', '', 200, '192.0.2.1', '', '[]', '[]', {blob}, {no}
        FROM {numbers} AS numbers"""


def published(database: Database) -> float:
    """The first stages of new calls; what they cause is delivered afterwards, outside the measure."""
    reports = {1: [report(f"{time.time_ns()}.{number}") for number in range(CALLS)]}
    began = time.perf_counter()
    publish(context_of(database), reports, datetime.now(UTC))
    took = (time.perf_counter() - began) * 1000
    deliver(database)
    return took


def claimed(database: Database) -> float:
    """A claim of all that has just become due; what was claimed is delivered afterwards, outside the measure."""
    return worked(database)[0]


def recorded(database: Database) -> float:
    """What was claimed is delivered."""
    return worked(database)[1]


def worked(database: Database) -> tuple[float, float]:
    """The milliseconds of a claim and of its recording, each with its commit, of events that programs send."""
    with database.write() as session:
        for number in range(DUE // WEBHOOKS):
            publish_other(context_of(database), session, 1, None, "form.sent", f"{time.time_ns()}.{number}", {}, NOW)
    return deliver(database)


def deliver(database: Database) -> tuple[float, float]:
    """The milliseconds of a claim of all that is due, and of its recording."""
    began = time.perf_counter()
    with database.write() as session:
        batch = claim(context_of(database), session, DUE, datetime.now(UTC))
    claimed_at = time.perf_counter()
    assert len(batch.claimed) == DUE
    moment = datetime.now(UTC)
    with database.write() as session:
        done = [Finished(one, OK, (), moment) for one in batch.claimed]
        record(context_of(database), session, done, moment)
    return (claimed_at - began) * 1000, (time.perf_counter() - claimed_at) * 1000


def error_page(database: Database) -> float:
    began = time.perf_counter()
    with _PAGE.test_request_context("/"), database.read() as session:
        listed(session, 1, Selection(unchecked=True), "", None, 51)
    return (time.perf_counter() - began) * 1000


def call_card(database: Database) -> float:
    """The stages, deliveries and attempts of an old call."""
    call_id = UUID(f"0190{100:028x}")
    began = time.perf_counter()
    with database.read() as session:
        session.scalars(select(StageEvent).where(StageEvent.call_id == call_id)).all()
        deliveries = session.scalars(select(Delivery).where(Delivery.call_id == call_id)).all()
        session.scalars(select(Attempt).where(Attempt.delivery_id.in_([row.id for row in deliveries]))).all()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    rest = [argument for argument in sys.argv[1:] if argument.isdigit()]
    main(int(rest[0]) if rest else 1_000_000)
