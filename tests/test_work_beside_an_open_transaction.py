"""Somebody's transaction stays open for minutes, such as that of a pg_dump: PostgreSQL may remove nothing that was sent
meanwhile, and claims go on as fast as before, within all limits, and lose nothing."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from random import Random
from typing import Any

import pytest
from sqlalchemy import event, text, update
from sqlalchemy.orm import Session

from pbxhub.delivery import last_look
from pbxhub.delivery.last_look import OVERLAP, LastLook, OldestLease
from pbxhub.delivery.outbox import Batch, Claimed, claim
from pbxhub.delivery.outbox.due import find_due
from pbxhub.delivery.outbox.lost_attempts import release_leases
from pbxhub.delivery.outbox.resend import resend_one
from pbxhub.store.delivery_rows import PENDING, Delivery
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from tests.support.outbox_world import (
    BEFORE,
    BUSY,
    FORWARD,
    OK,
    World,
    at,
    context_of,
    finish,
    forward,
    report,
    spec,
)

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

SENT = 3000


@pytest.fixture(autouse=True)
def rests_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a look at everything does not find what the memory of the last one lost."""
    monkeypatch.setattr(last_look, "REST", 100_000)


LATER = 100.0  # when what was sent meanwhile is over, leases too
_READ = text("SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(indexrelid)), 0) FROM pg_index"
             " WHERE indrelid = 'delivery'::regclass")  # fmt: skip


@contextmanager
def held_open(database: Database) -> Iterator[None]:
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ")
        connection.execute(text("SELECT count(*) FROM delivery"))
        yield


def sent_meanwhile(world: World, number: int = SENT) -> None:
    """Published, claimed and delivered in the seconds after NOON. Then the planner learns that nothing is pending."""
    world.publish(report("copied", BEFORE))
    others = ", ".join(column.name for column in Delivery.__table__.columns if column.name not in _DIFFERS)
    token = "'00000000-0000-0000-0000-000000000001'"
    for statement in (
        f"""INSERT INTO delivery (id, stage_event_id, sequence_id, due_at, {others})
            SELECT lpad(to_hex(i), 32, '0')::uuid, NULL, lpad(to_hex(i / 5), 32, '0')::uuid,
                   due_at + i * interval '10 ms', {others}
              FROM delivery, generate_series(1, {number}) i""",
        "UPDATE delivery SET held = true",
        f"UPDATE delivery SET held = false, claim_token = {token}, due_at = due_at + interval '25 s', attempts = 1",
        "UPDATE delivery SET claim_token = NULL, state = 'delivered', outcome = 'ok', tries = 1",
        "ANALYZE delivery",
    ):
        with world.database.write() as session:
            session.execute(text(statement))


_DIFFERS = ("id", "stage_event_id", "sequence_id", "due_at")


class Process:
    """What claims in one process. Its monotonic clock stands still until moved."""

    def __init__(self, world: World) -> None:
        self.moment = 0.0
        self.world, self.last_look = world, LastLook(lambda: self.moment)
        self.context = context_of(world.database, last_look=self.last_look, oldest_lease=OldestLease())

    def claim(self, seconds: float, limit: int = 100) -> Batch:
        with self.world.database.write() as session:
            return self.claim_in(session, seconds, limit)

    def claim_in(self, session: Session, seconds: float, limit: int = 100) -> Batch:
        return claim(self.context, session, limit, at(seconds), chance=lambda: 0.5)

    def fail(self, seconds: float) -> None:
        """A claim that the database does not commit."""
        with self.world.database.write() as session:
            self.claim_in(session, seconds)
            session.rollback()

    def look(self, seconds: float) -> None:
        """As when new deliveries are handed over: it sees what is due, and claims none of it."""
        with self.world.database.write() as session:
            find_due(session, at(seconds), lambda: 0.5, self.last_look)

    def remembers(self, seconds: float) -> bool:
        return self.last_look.since(at(seconds)) is not None


@contextmanager
def counted(database: Database) -> Iterator[list[int]]:
    """How many entries of the indexes of deliveries every transaction reads."""
    begun, read = dict[Any, int](), list[int]()

    def entries(connection: Any) -> int:
        [row] = connection.connection.driver_connection.execute(str(_READ)).fetchall()
        return int(row[0])

    def begin(connection: Any) -> None:
        begun[connection.connection.driver_connection] = entries(connection)

    def commit(connection: Any) -> None:
        read.append(entries(connection) - begun[connection.connection.driver_connection])

    event.listen(database.engine, "begin", begin)
    event.listen(database.engine, "commit", commit)
    yield read
    event.remove(database.engine, "begin", begin)
    event.remove(database.engine, "commit", commit)


def entries_read(world: World, process: Process) -> int:
    """Of the dearest transaction among publish, claim and record."""
    with counted(world.database) as read:
        world.publish(*(report(name, BEFORE, forward("101"), forward("102", 2)) for name in "ab"), now=at(LATER))
        first = process.claim(LATER)
        finish(world.database, first.claimed, OK, LATER)
        held = process.claim(LATER)
        finish(world.database, held.claimed, OK, LATER)
    assert [len(batch.claimed) for batch in (first, held)] == [4, 2]
    return max(read)


def world_of(database: Database, **limits: int) -> World:
    world = World(database)
    world.webhook(BEFORE, spec(**limits))
    world.webhook(FORWARD, spec(**limits))
    return world


@pytest.mark.parametrize("planted", [False, True])
def test_no_statement_reads_what_was_sent_meanwhile(
    database: Database, planted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(database)
    process = Process(world)
    with held_open(database):
        sent_meanwhile(world)
        process.claim(LATER)
        assert process.remembers(LATER)
        if planted:
            monkeypatch.setattr(LastLook, "since", lambda *_: None)
        assert (entries_read(world, process) > SENT) == planted


def test_once_it_is_closed_every_look_is_at_everything(database: Database) -> None:
    world = world_of(database)
    process = Process(world)
    with held_open(database):
        sent_meanwhile(world)
        process.claim(LATER)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM delivery"))
    process.moment += 100
    process.claim(LATER)
    assert not process.remembers(LATER)


@contextmanager
def remembering(world: World) -> Iterator[Process]:
    """A process that has just looked at everything, and found it dear."""
    process = Process(world)
    with held_open(world.database):
        sent_meanwhile(world)
        process.claim(LATER)
        assert process.remembers(LATER)
        yield process


def names(world: World, batch: Batch) -> list[str]:
    """The calls of what was claimed."""
    with world.database.read() as session:
        return [session.get_one(Call, one.call_id).linkedid for one in batch.claimed]


def test_what_becomes_due_meanwhile_is_claimed_at_once(database: Database) -> None:
    world = world_of(database)
    with remembering(world) as process:
        world.publish(report("new", BEFORE), now=at(LATER))
        new = process.claim(LATER)
        assert names(world, new) == ["new"]
        finish(database, new.claimed, BUSY, LATER)  # as the webhook has no retries, it has failed
        with database.write() as session:
            resend_one(context_of(database), session, world.project_id, new.claimed[0].id, at(LATER))
        again = process.claim(LATER)
        assert names(world, again) == ["new"]
        with database.write() as session:
            release_leases(context_of(database), session, again.claimed, at(LATER))
        assert names(world, process.claim(LATER)) == ["new"]
        assert process.remembers(LATER)


def test_what_waits_is_claimed_when_it_may_be(database: Database) -> None:
    """Because its webhook was paused, or had too many requests in flight: longer ago than the last looks reach."""
    world = world_of(database, in_flight=1)
    pause(world, at(0))
    with held_open(database):
        sent_meanwhile(world)
        process = Process(world)
        world.publish(report("old 1", BEFORE), report("old 2", BEFORE), now=at(1))
        assert process.claim(LATER).claimed == ()
        pause(world, None)
        first = process.claim(LATER)
        world.publish(report("new", BEFORE), now=at(LATER))
        assert process.claim(LATER).claimed == ()
        finish(database, first.claimed, OK, LATER)
        second = process.claim(LATER)
        finish(database, second.claimed, OK, LATER)
        assert [*names(world, first), *names(world, second)] == ["old 1", "old 2"]
        assert names(world, process.claim(LATER)) == ["new"]
        assert process.remembers(LATER)


def pause(world: World, moment: datetime | None) -> None:
    with world.database.write() as session:
        session.execute(update(Webhook).values(paused_on=moment))


def test_what_comes_with_an_earlier_time_is_found_by_the_next_look_at_everything(database: Database) -> None:
    world = world_of(database)
    with remembering(world) as process:
        world.publish(report("of a host whose clock is behind", BEFORE), now=at(LATER) - 2 * OVERLAP)
        batch = process.claim(LATER)
        assert batch.claimed == ()
        assert batch.next_due is not None
        assert batch.next_due <= at(LATER) + OVERLAP
        process.moment += 100
        assert len(process.claim(LATER).claimed) == 1


def test_a_clock_that_is_set_back_hides_nothing(database: Database) -> None:
    world = world_of(database)
    with remembering(world) as process:
        world.publish(report("1", BEFORE), now=at(LATER - 50))
        assert len(process.claim(LATER - 50).claimed) == 1


def test_a_claim_that_is_rolled_back_forgets_nothing(database: Database) -> None:
    world = world_of(database, in_flight=1)
    pause(world, at(0))
    with held_open(database):
        sent_meanwhile(world)
        process = Process(world)
        world.publish(report("old", BEFORE), now=at(1))
        process.claim(LATER)
        pause(world, None)
        with database.write() as session:
            assert len(process.claim_in(session, LATER).claimed) == 1
            session.rollback()
        assert names(world, process.claim(LATER)) == ["old"]
        assert process.remembers(LATER)


def test_whoever_claims_no_webhook_has_more_in_flight_than_it_may(database: Database) -> None:
    """Two processes, and requests that hang for long: their claims are the oldest."""
    world = world_of(database, in_flight=2)
    one = Process(world)
    with held_open(database):
        sent_meanwhile(world)
        other = Process(world)
        world.publish(*(report(str(number), BEFORE) for number in range(6)), now=at(LATER))
        (hangs,) = one.claim(LATER, limit=1).claimed
        for _ in range(2):
            (quick,) = other.claim(LATER).claimed
            assert one.claim(LATER).claimed == ()
            assert other.claim(LATER).claimed == ()
            finish(database, [quick], OK, LATER)
        finish(database, [hangs], OK, LATER)
        assert len(one.claim(LATER).claimed) == 2
        assert other.claim(LATER).claimed == ()


def test_leases_of_the_version_before_count_too(database: Database) -> None:
    """Their tokens have no number, and are greater than any."""
    world = world_of(database, in_flight=2)
    process = Process(world)
    world.publish(*(report(str(number), BEFORE) for number in range(4)))
    process.claim(0, limit=1)
    with database.write() as session:
        session.execute(update(Delivery).where(Delivery.claim_token.is_not(None)).values(claim_token=new_id()))
    assert len(process.claim(0).claimed) == 1
    assert process.claim(0).claimed == ()


@pytest.mark.parametrize("planted", [False, True])
def test_leases_that_were_over_count_again_after_a_jump_of_the_clock_back(
    database: Database, planted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(database, in_flight=1)
    process = Process(world)
    world.publish(report("1", BEFORE), report("2", BEFORE))
    assert len(process.claim(0).claimed) == 1
    with database.write() as session:  # so that the next claim has something to look at, and leaves the lease alone
        session.execute(update(Delivery).where(Delivery.claim_token.is_(None)).values(webhook_id=world.webhooks[1]))
    process.claim(LATER, limit=1)
    world.publish(report("3", BEFORE), now=at(1))
    if planted:
        monkeypatch.setattr(
            OldestLease, "known", lambda self, _now: {"oldest_token": self._token, "server": self._server}
        )
    assert (world.webhooks[0] in {one.webhook.id for one in process.claim(1).claimed}) == planted


@pytest.mark.parametrize("seed", range(3))
def test_in_random_order_nothing_is_lost_and_no_limit_is_passed(database: Database, seed: int) -> None:
    random, world = Random(seed), world_of(database, in_flight=2)
    processes, in_flight = [Process(world), Process(world)], list[Claimed]()
    with held_open(database):
        sent_meanwhile(world)
        seconds, number = LATER, 0
        for _ in range(60):
            seconds += random.choice((0.0, 0.01, 0.3))
            what = random.choice(("publish", "claim", "claim", "finish", "finish", "pause", "resume", "fail", "look"))
            if what == "publish":
                world.publish(report(f"{number}", BEFORE, forward("101"), forward("102", 2)), now=at(seconds))
                number += 1
            elif what == "claim":
                in_flight += random.choice(processes).claim(seconds, random.choice((1, 3, 100))).claimed
                counts = Counter(one.webhook.id for one in in_flight)
                assert max(counts.values(), default=0) <= 2
            elif what in ("fail", "look"):
                getattr(random.choice(processes), what)(seconds)
            elif what == "finish" and in_flight:
                finish(database, [in_flight.pop(random.randrange(len(in_flight)))], OK, seconds)
            elif what in ("pause", "resume"):
                pause(world, at(seconds) if what == "pause" else None)
        pause(world, None)
        for _ in range(10 * number):
            finish(database, in_flight, OK, seconds)
            in_flight = list(random.choice(processes).claim(seconds).claimed)
        assert world.deliveries(Delivery.state == PENDING) == []


def test_after_a_change_to_a_standby_that_numbers_from_earlier_on_all_leases_count(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(database, in_flight=1)
    one, other = Process(world), Process(world)
    number(database, 1000)
    world.publish(report("0", BEFORE))
    finish(database, one.claim(0).claimed, OK, 0)
    world.publish(*(report(str(number), BEFORE) for number in range(1, 4)))
    number(database, 900)
    monkeypatch.setattr(one.context.oldest_lease, "_server", "the primary before")
    assert len(other.claim(1).claimed) == 1
    assert one.claim(1).claimed == ()


def test_a_number_that_is_given_again_because_nothing_was_committed_hides_no_lease(database: Database) -> None:
    world = world_of(database, in_flight=1)
    for again in range(8):  # the other half of a token is drawn
        one, other = Process(world), Process(world)
        world.publish(report(f"{again} a", BEFORE), report(f"{again} b", BEFORE))
        number(database, 1000 * (again + 1))
        one.fail(1)
        number(database, 1000 * (again + 1) - 32)  # as a killed server counts
        claimed = other.claim(1, limit=1).claimed
        assert len(claimed) == 1
        assert one.claim(1, limit=1).claimed == ()
        finish(database, claimed, OK, 1)
        finish(database, other.claim(1).claimed, OK, 1)


def number(database: Database, last: int) -> None:
    with database.write() as session:
        session.execute(text("SELECT setval('delivery_claim', :last)"), {"last": last})


def test_a_claim_that_fails_lets_no_queue_be_forgotten(database: Database) -> None:
    """1. A claim reads the one delivery of a queue, and fails; 2. more come; 3. the next claim reads only some."""
    world = world_of(database, in_flight=100)
    with remembering(world) as process:
        world.publish(report("first", BEFORE), now=at(LATER))
        process.fail(LATER)
        world.publish(*(report(f"{number}", BEFORE) for number in range(20)), now=at(LATER + 0.1))
        batches = [process.claim(LATER + 5 + 2 * turn, limit=4) for turn in range(8)]
        assert sum(len(batch.claimed) for batch in batches) == 21


def test_what_is_found_while_the_answer_of_a_commit_is_late_is_not_forgotten(database: Database) -> None:
    world = world_of(database, in_flight=3)
    with remembering(world) as process:
        world.publish(report("first", BEFORE), now=at(LATER))

        def meanwhile(_session: Session) -> None:
            world.publish(report("second", BEFORE), now=at(LATER + 1))
            process.look(LATER + 1)
            process.look(LATER + 3)

        with database.write() as session:
            event.listen(session, "after_commit", meanwhile, once=True)
            first = process.claim_in(session, LATER)
        finish(database, first.claimed, OK, LATER + 3)
        assert names(world, process.claim(LATER + 4)) == ["second"]


def test_a_look_does_not_forget_what_is_still_to_be_cancelled(database: Database) -> None:
    world = world_of(database)
    with remembering(world) as process:
        pause(world, at(LATER))
        world.publish(report("first", BEFORE), now=at(LATER))
        process.claim(LATER)
        with database.write() as session:
            session.execute(update(Webhook).values(enabled=False, paused_on=None))
        process.look(LATER + 2)
        process.claim(LATER + 4)
        assert world.deliveries(Delivery.state == PENDING) == []
