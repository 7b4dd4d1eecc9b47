"""A hub in which nothing happens hardly works, and an ordered call does not wait for it to wake up."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from panoramisk.actions import Action
from sqlalchemy import event, select, update
from structlog.testing import capture_logs

from pbxhub import services
from pbxhub.ami import listener, observed_states, order_wakeup
from pbxhub.ami.lease_heartbeat import LeaseHeartbeat
from pbxhub.ami.observed_states import ObservedStates
from pbxhub.ami.order_wakeup import OrderWakeup
from pbxhub.ami.pbx_rows import Observed, ObservedPbx, pbx_row
from pbxhub.ami.placing import Placing
from pbxhub.ami.protocol import AmiResponse
from pbxhub.delivery import due_work, wakeup
from pbxhub.delivery.caller_persons import fill_persons
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.due_work import DueWork
from pbxhub.delivery.outbox.ordered_call_status import ask_cancel
from pbxhub.delivery.wakeup import WakeupListener, Wakeups
from pbxhub.store.accounts import Pbx
from pbxhub.store.clock import utc_now
from pbxhub.store.ids import new_id
from pbxhub.store.migrate import migrate
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.store.parts import beat
from pbxhub.store.pbx_state_sentences import PbxState
from pbxhub.store.resends import Resend
from pbxhub.store.session import Database, open_database
from tests.support.ordering import order
from tests.support.outbox_world import BEFORE, LINKS, NOON, VAULT, World, context_of, report


async def until(true: Callable[[], bool], seconds: float = 10.0) -> float:
    """Seconds until it is true."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, "it has not happened"
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements that are executed meanwhile."""
    seen: list[str] = []
    count = lambda _connection, _cursor, statement, *_: seen.append(statement)  # noqa: E731
    event.listen(database.engine, "before_cursor_execute", count)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", count)


@pytest.mark.slow
@pytest.mark.parametrize("process", ["this", "another"])
def test_an_order_and_its_cancellation_wake_the_listener(
    database: Database, process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_wakeup, "_POLL", 60.0)
    world = World(database)
    own = context_of(database)
    heard = own if process == "this" else DeliveryContext(database, own.vault, LINKS)

    async def scenario() -> None:
        watch, turns = OrderWakeup(heard), list[float]()
        watch.add(world.pbx_id, lambda: turns.append(time.monotonic()))
        watch.start()
        looking = asyncio.create_task(watch.run())
        await asyncio.sleep(0.5)
        assert turns == []
        one = await asyncio.to_thread(order, world)
        await until(lambda: len(turns) > 0)
        with database.write() as session:
            session.execute(update(OrderedCall).values(taken_on=NOON))
        await asyncio.sleep(0.5)
        before = len(turns)

        def cancel() -> None:
            with database.write() as session:
                assert ask_cancel(own, session, session.get_one(OrderedCall, one.id), NOON)

        await asyncio.to_thread(cancel)
        await until(lambda: len(turns) > before)
        looking.cancel()
        await watch.close()

    asyncio.run(scenario())


@pytest.mark.slow
def test_many_pbxs_are_asked_for_orders_in_one_statement(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_wakeup, "_POLL", 60.0)

    async def scenario() -> list[str]:
        watch = OrderWakeup(context_of(database))
        for pbx_id in range(50):
            watch.add(pbx_id, lambda: None)
        looking = asyncio.create_task(watch.run())
        with counted(database) as seen:
            await until(lambda: len(seen) > 0)
            await asyncio.sleep(0.2)
        looking.cancel()
        return seen

    assert [one for one in asyncio.run(scenario()) if "ordered_call" in one] != []
    assert sum("ordered_call" in one for one in asyncio.run(scenario())) <= 2


def pbxs(world: World, number: int) -> list[int]:
    with world.database.write() as session:
        rows = [
            Pbx(project_id=world.project_id, name=f"p{one}", host="h", username="u", secret_sealed="", created_on=NOON)
            for one in range(number)
        ]
        session.add_all(rows)
        session.flush()
        return [row.id for row in rows]


def observed(pbx_id: int, state: str = "connected", **columns: object) -> Observed:
    seen = ObservedPbx(PbxState(state), datetime.now(UTC), None, "20.1", None, **columns)  # type: ignore[arg-type]
    return Observed(pbx_id, None, seen)


def test_the_states_of_all_pbxs_are_written_in_one_commit_and_a_new_state_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observed_states, "_SHOW", 0.05)
    monkeypatch.setattr(observed_states, "_BETWEEN", 60.0)
    monkeypatch.setattr(observed_states, "_ALIVE", 60.0)
    ids = pbxs(World(database), 30)
    seen = {pbx_id: observed(pbx_id) for pbx_id in ids}
    commits: list[object] = []
    event.listen(database.engine, "commit", commits.append)

    def states() -> list[str]:
        with database.read() as session:
            return list(session.scalars(select(Pbx.state).where(Pbx.id.in_(ids)).order_by(Pbx.id)))

    async def scenario() -> None:
        writer = ObservedStates(database)
        for pbx_id in ids:
            writer.add(pbx_id, lambda pbx_id=pbx_id: seen[pbx_id])  # type: ignore[misc]
        writing = asyncio.create_task(writer.run())
        await until(lambda: states() == ["connected"] * 30)
        assert len(commits) <= 2
        seen[ids[3]] = observed(ids[3], "lost")
        await until(lambda: states()[3] == "lost")
        writing.cancel()

    asyncio.run(scenario())
    assert len(commits) <= 4


def test_a_state_that_the_database_rejects_keeps_no_other_from_being_written(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observed_states, "_SHOW", 0.05)
    first, bad, last = pbxs(World(database), 3)

    async def scenario() -> None:
        writer = ObservedStates(database)
        for pbx_id in (first, bad, last):
            seen = observed(pbx_id, **({"events_last_minute": 2**80} if pbx_id == bad else {}))
            writer.add(pbx_id, lambda seen=seen: seen)  # type: ignore[misc]
        writing = asyncio.create_task(writer.run())

        def written() -> bool:
            with database.read() as session:
                found = session.scalars(select(Pbx.state).where(Pbx.id.in_((first, last)))).all()
            return list(found) == ["connected"] * 2

        await until(written)
        writing.cancel()

    with capture_logs() as logged:
        asyncio.run(scenario())
    assert [one["pbx"] for one in logged if one["log_level"] == "error"] == [bad]


def test_all_background_jobs_ask_together(database: Database) -> None:
    World(database)
    work = DueWork(context_of(database))
    with counted(database) as seen:
        due = {job: work.is_due(job, NOON) for job in ("resends", "notices", "persons", "tokens")}
    assert due == {"resends": False, "notices": False, "persons": True, "tokens": False}
    assert sum("SELECT" in one for one in seen) == 1


@pytest.fixture
def written_by_few(tmp_path: Path) -> Iterator[Database]:
    """SQLite, which says whether anybody has written."""
    database = open_database(f"sqlite:///{tmp_path / 'pbxhub.sqlite3'}")
    migrate(database)
    yield database
    database.close()


def test_background_jobs_ask_again_only_when_somebody_has_written(
    written_by_few: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due_work, "_LASTS", -1.0)
    world, work = World(written_by_few), DueWork(context_of(written_by_few))
    assert work.is_due("persons", NOON)
    with counted(written_by_few) as seen:
        assert work.is_due("persons", NOON)
    assert seen == []
    fill_persons(written_by_few)
    assert not work.is_due("persons", NOON)
    assert not work.is_due("resends", NOON)
    with written_by_few.write() as session:
        session.add(
            Resend(
                id=new_id(), project_id=world.project_id, state="running", selection={}, current_settings=True, rate=1,
                total=1, stepped_on=NOON, created_on=NOON,
            )
        )  # fmt: skip
    assert work.is_due("resends", NOON)
    monkeypatch.setattr(work._changes, "_lasts", -1.0)
    with counted(written_by_few) as seen:
        work.is_due("notices", NOON)
    assert seen != [], "a notice may have become due, although nobody has written"
    work.close()


def test_the_rows_of_pbxs_are_read_again_only_when_somebody_has_written(
    written_by_few: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    monkeypatch.setattr(listener._Listener, "_begin", lambda _self, row: begun.append(row.id))
    watched = listener._Listener(
        context_of(written_by_few), lambda _row: 1 / 0, LeaseHeartbeat(written_by_few), tmp_path, lambda _files: None
    )  # type: ignore[arg-type, return-value]

    async def scenario() -> None:
        await watched.poll()
        with counted(written_by_few) as seen:
            await watched.poll()
        assert seen == []
        [pbx_id] = pbxs(World(written_by_few), 1)
        with written_by_few.write() as session:
            session.execute(update(Pbx).values(enabled=True))
        await watched.poll()
        assert pbx_id in begun

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize("told", [True, False], ids=["inotify", "no inotify"])
def test_a_worker_wakes_for_what_another_process_has_written(
    written_by_few: Database, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not told:
        monkeypatch.setattr(wakeup.ctypes, "CDLL", lambda _name: SimpleNamespace(inotify_init1=lambda _flags: -1))
    woken, world = threading.Event(), World(written_by_few)
    world.webhook(BEFORE)
    watch = WakeupListener(written_by_few, Wakeups(), woken.set)
    watch.start()
    try:
        assert not woken.wait(0.5)
        world.publish(report("1.1", BEFORE))
        assert woken.wait(10)
    finally:
        watch.stop()


def test_the_system_tells_of_a_commit_into_sqlite(written_by_few: Database) -> None:
    world, stop = World(written_by_few), os.eventfd(0)
    with closing(wakeup._Writes(Path(str(written_by_few.engine.url.database)).parent)) as writes:
        assert not writes.within(0.0, stop)
        pbxs(world, 1)
        assert writes.within(10.0, stop)
        assert not writes.within(0.0, stop)
    os.close(stop)


def test_the_parts_of_a_process_are_noted_in_one_statement(database: Database) -> None:
    with counted(database) as seen, database.write() as session:
        beat(session, ["worker", "guard", "notices"], NOON)
        beat(session, [], NOON)
    assert sum("part_seen" in one for one in seen) == 1


def test_a_state_that_cannot_be_read_ends_no_writing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed_states, "_SHOW", 0.05)
    [pbx_id] = pbxs(World(database), 1)
    faults = [ZeroDivisionError()]

    def source() -> Observed:
        if faults:
            raise faults.pop()
        return observed(pbx_id)

    def state() -> str:
        with database.read() as session:
            return session.get_one(Pbx, pbx_id).state

    async def scenario() -> None:
        writer = ObservedStates(database)
        writer.add(pbx_id, source)
        writing = asyncio.create_task(writer.run())
        await until(lambda: state() == "connected")
        writing.cancel()

    asyncio.run(scenario())


def test_an_unexpected_error_ends_no_renewing_of_the_address_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "GUARD_EVERY", timedelta(seconds=0.01))
    renewed, faults = threading.Event(), [ZeroDivisionError()]

    def renew() -> None:
        if faults:
            raise faults.pop()
        renewed.set()

    with services._renewed(renew):
        assert renewed.wait(10)


@pytest.mark.slow
def test_many_orders_at_once_are_placed_without_a_pause(database: Database) -> None:
    """One turn takes some of them; the watch, which calls again every few seconds, is not needed for the others."""
    world = World(database)
    context = context_of(database)
    for _ in range(45):
        order(world, created_on=utc_now())
    placed: list[Action] = []

    async def ask(action: Action, _seconds: float) -> AmiResponse:
        placed.append(action)
        await asyncio.Event().wait()
        raise AssertionError

    with database.read() as session:
        row = pbx_row(session.get_one(Pbx, world.pbx_id), VAULT)

    async def scenario() -> None:
        placing = Placing(context, row, ask, lambda: True, lambda _: None)
        running = asyncio.create_task(placing.run())
        placing.turn()
        await until(lambda: len(placed) == 45)
        running.cancel()

    asyncio.run(scenario())
