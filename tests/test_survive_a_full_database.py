"""The database is full or read-only: nothing is lost, no attempt is burnt, and everything is written later.

Each proof that nothing is lost has a twin with a planted bug: there it must fail.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest
import structlog
from sqlalchemy import event, select, text, update
from sqlalchemy.exc import OperationalError

from pbxhub.ami.pbx_listener import PbxListener
from pbxhub.ami.unwritten_stages import keep_unwritten, unwritten_file
from pbxhub.calls.stages import CallReport
from pbxhub.delivery.worker import Worker
from pbxhub.store.accounts import Pbx
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import DELIVERED, Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.pbx.recordings import freshen, read_recording, shipped
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.webhooks.spec import RequestSpec
from tests.support.hub import add_pbx, calls_of, listening, pbx_of
from tests.support.killing import stages_of
from tests.support.outbox_world import BEFORE, World, report, spec
from tests.support.pbx_line import playing, until
from tests.support.simulation.planted_bugs import BUGS
from tests.support.waiting import PATIENCE, wait_until
from tests.support.working import DiscouragedWorker, ForgetfulWorker, fails_if, states, working

Fault = Callable[[Database], Callable[[], None]]
Plant = Callable[[], AbstractContextManager[object]]
right: Plant = nullcontext


def twin_of(plant: Plant) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("plant", [right, plant], ids=["right", "planted"])


@contextmanager
def proof(plant: Plant) -> Iterator[None]:
    with plant(), fails_if(plant is not right):
        yield


def patience(planted: bool) -> float:
    """Seconds until what must come has come, or does not because of the bug."""
    return 5.0 if planted else PATIENCE


def keeps_nothing() -> AbstractContextManager[object]:
    """What could not be written is not kept for the next start."""
    return patch.object(PbxListener, "keep_unwritten", lambda _: None)


def admin(database: Database, *statements: str) -> None:
    """Changes what the server lets everybody do; open connections learn of it by being closed."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))
    database.engine.dispose()


def read_only(database: Database) -> Callable[[], None]:
    """As after a failover: reads work, writes don't. Returns what ends it."""
    if database.is_sqlite:
        return sqlite_pragma(database, "query_only = 1", "query_only = 0")
    name = database.engine.url.database
    admin(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    return lambda: admin(
        database,
        "SET default_transaction_read_only = off",
        f"ALTER DATABASE {name} RESET default_transaction_read_only",
    )


def full(database: Database) -> Callable[[], None]:
    """No page and no row more. PostgreSQL says disk_full as the server itself does, out of a trigger."""
    if database.is_sqlite:
        return sqlite_pragma(database, "max_page_count = 1", "max_page_count = 4294967294")
    admin(
        database,
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END$$",
        *(f"CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION no_room()" for table in TABLES),
    )
    return lambda: admin(  # a table at a time: one transaction for all could wait for a worker that waits for it
        database, *(f"DROP TRIGGER no_room ON {table}" for table in TABLES), "DROP FUNCTION no_room"
    )


def without_a_table(database: Database) -> Callable[[], None]:
    """As in the middle of a restore."""

    def rename(old: str, new: str) -> None:
        with database.write() as session:
            session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    rename("stage_event", "stage_event_away")
    return lambda: rename("stage_event_away", "stage_event")


BIG = 30_000  # bytes that need pages which are not there yet
TABLES = ("call", "stage_event", "delivery", "attempt")


def sqlite_pragma(database: Database, on: str, off: str) -> Callable[[], None]:
    """A pragma holds for one connection: it is set on every one that is checked out, until it is taken back."""
    now = [on]

    def set_it(connection: object, *_: object) -> None:
        connection.execute(f"PRAGMA {now[0]}")  # type: ignore[attr-defined]

    event.listen(database.engine, "checkout", set_it)

    def back() -> None:
        now[0] = off

    return back


@pytest.mark.parametrize("fault", [read_only, full, without_a_table])
@twin_of(BUGS["stages are dropped when the database fails"])
def test_stages_wait_in_the_listeners_memory(database: Database, fault: Fault, plant: Plant) -> None:
    recording = read_recording(next(path for path in shipped() if path.stem == "answered"))

    async def calling() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            with database.write() as session:
                what = spec(request=RequestSpec(url="https://crm.example.com/", format="raw", text="x" * BIG))
                session.add(Webhook(project_id=1, name="W", stage=BEFORE, spec=what, created_on=utc_now()))
                touch_webhooks(session, 1)
            in_vain: list[CallReport] = []
            async with listening(database, refused=in_vain):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                mend = fault(database)
                fresh = freshen(recording, datetime.now(UTC))
                await player.play(fresh, speed=0)
                await until(lambda: in_vain != [])
                if fault is not without_a_table:
                    await asyncio.to_thread(refused, database)
                    assert not calls_of(database)
                mend()
                await until(lambda: told(database) == stages_of(fresh), patience(plant is not right))

    with proof(plant):
        asyncio.run(calling())


@pytest.mark.slow
@twin_of(keeps_nothing)
def test_a_listener_that_stops_meanwhile_leaves_its_stages_to_the_next_one(
    database: Database, tmp_path: Path, plant: Plant
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    recording = read_recording(next(path for path in shipped() if path.stem == "answered"))

    async def calling() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            with database.write() as session:
                what = spec(request=RequestSpec(url="https://crm.example.com/<<calldate|unix>>"))
                session.add(Webhook(project_id=1, name="W", stage=BEFORE, spec=what, created_on=utc_now()))
                touch_webhooks(session, 1)
            fresh = freshen(recording, datetime.now(UTC))
            in_vain: list[CallReport] = []
            async with listening(database, data_dir=data_dir, refused=in_vain):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                mend = read_only(database)
                await player.play(fresh, speed=0)
                await until(lambda: any(report.ended_on for report in in_vain))
            mend()
            assert list(data_dir.iterdir()) == [unwritten_file(data_dir, pbx_of(database, pbx_id).key)]
            async with listening(database, data_dir=data_dir):
                await until(lambda: told(database) == stages_of(fresh))
                await until(lambda: not any(data_dir.iterdir()))
            with database.read() as session:
                call = session.scalars(select(Call)).one()
                url = session.scalars(select(Delivery.url)).one()
            assert url == f"https://crm.example.com/{int(call.started_on.timestamp())}"

    with proof(plant):
        asyncio.run(calling())


def test_what_was_kept_of_a_pbx_that_is_disabled_or_deleted_meanwhile_is_dealt_with(
    database: Database, tmp_path: Path
) -> None:
    world, data_dir = World(database), tmp_path / "data"
    data_dir.mkdir()
    with database.write() as session:
        session.execute(update(Pbx).values(enabled=False))
    deleted = f"{world.pbx_id}-0ld5a17"  # SQLite gave its id to another PBX, which may be another tenant's
    for key, call in ((pbx_of(database, world.pbx_id).key, "1.1"), ("999", "1.2"), (deleted, "1.3")):
        keep_unwritten(unwritten_file(data_dir, key), None, [report(call, BEFORE)], {})
    (data_dir / "unwritten-stages-old.jsonl").touch()

    async def starting() -> None:
        async with listening(database, data_dir=data_dir):
            await until(lambda: len(told(database)) == 1)
            await until(lambda: [file.stem for file in data_dir.iterdir()] == ["unwritten-stages-old"])

    asyncio.run(starting())
    assert {linkedid for linkedid, *_ in told(database)} == {"1.1"}


def refused(database: Database) -> None:
    """A write of our own is refused."""
    on_sqlite, on_postgresql = "CREATE TABLE f AS SELECT zeroblob(100000)", "INSERT INTO call (id) VALUES (NULL)"
    with pytest.raises(OperationalError, match=r"read-?only|full|No space"), database.write() as session:
        session.execute(text(on_sqlite if database.is_sqlite else on_postgresql))


@contextmanager
def errors(database: Database) -> Iterator[list[object]]:
    """Those that the database answers meanwhile."""
    seen: list[object] = []

    def note(context: object) -> None:
        seen.append(context)

    event.listen(database.engine, "handle_error", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "handle_error", note)


def told(database: Database) -> set[tuple[str, str, str]]:
    with database.read() as session:
        rows = session.execute(select(Call.linkedid, StageEvent.stage, StageEvent.key).join_from(StageEvent, Call))
        return {(row[0], row[1], row[2]) for row in rows}


@pytest.mark.parametrize("fault", [read_only, full])
@pytest.mark.parametrize("kind", [Worker, DiscouragedWorker])
def test_workers_wait_and_burn_no_attempt(database: Database, fault: Fault, kind: type[Worker]) -> None:
    world, planted = World(database), kind is not Worker
    with Receiver() as receiver, fails_if(planted):
        world.webhook(BEFORE, spec(receiver.url, in_flight=100))
        world.publish(*(report(f"1.{n}", BEFORE) for n in range(100)), now=utc_now())
        mend = fault(database)
        with errors(database) as seen, working(database, receiver, kind=kind) as worker:
            wait_until(lambda: seen != [], "the worker is refused")
            refused(database)
            assert (receiver.count, worker.in_flight) == (0, 0)
            mend()
            wait_until(lambda: states(world) == {DELIVERED}, "all is delivered", patience(planted))
        assert receiver.count == 100
        assert [row.attempts for row in world.deliveries()] == [1] * 100


@pytest.mark.parametrize("fault", [read_only, full])
def test_a_log_of_the_trouble_holds_no_key_and_no_answer(
    database: Database, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """61: what cannot be written are rows with the answer, the URL of the next webhook and the caller."""
    world, told, mends = World(database), StringIO(), list[Callable[[], None]]()
    steps = [structlog.processors.add_log_level, structlog.processors.format_exc_info, structlog.dev.ConsoleRenderer()]
    for module in ("worker", "background_jobs"):
        monkeypatch.setattr(
            f"pbxhub.delivery.{module}.log", structlog.wrap_logger(structlog.PrintLogger(told), processors=steps)
        )

    def break_and_answer(_: object) -> Reply:
        if not mends:
            mends.append(fault(database))
        return Reply(body=b'{"phone": "+380441112233"}' + b"x" * BIG)

    with Receiver(break_and_answer) as receiver:
        world.webhook("", spec(f"{receiver.url}/bot12345:BOT-KEY/send"), name="next")
        world.webhook(BEFORE, spec(receiver.url, on_success="next"))
        world.publish(report("1.1", BEFORE), now=utc_now())
        with working(database, receiver):
            wait_until(lambda: "database unavailable" in told.getvalue())
            mends[0]()
            wait_until(lambda: [row.state for row in world.deliveries()] == [DELIVERED] * 2)
    for secret in ("BOT-KEY", "380441112233", "+380441234567"):
        assert secret not in told.getvalue()


@pytest.mark.parametrize("fault", [read_only, full])
@pytest.mark.parametrize("kind", [Worker, ForgetfulWorker])
def test_an_answer_that_cannot_be_written_yet_is_kept(database: Database, fault: Fault, kind: type[Worker]) -> None:
    world, planted = World(database), kind is not Worker
    mends: list[Callable[[], None]] = []
    with Receiver(lambda _: mends.append(fault(database)) or Reply(body=b"x" * BIG)) as receiver:  # type: ignore[func-returns-value]
        world.webhook(BEFORE, spec(receiver.url))
        world.publish(report("1.1", BEFORE), now=utc_now())
        with fails_if(planted), working(database, receiver, kind=kind):
            wait_until(lambda: bool(mends))
            refused(database)
            assert world.deliveries()[0].state != DELIVERED
            mends[0]()
            wait_until(lambda: states(world) == {DELIVERED}, "it is recorded", patience(planted))
            assert receiver.count == 1
