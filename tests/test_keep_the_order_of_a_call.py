"""Whatever happens on the way, the stages of a call reach a webhook one after the other, and none stays behind."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import inspect, update

from pbxhub.delivery.outbox import (
    CannotResendError,
    Claimed,
    Selection,
    cancel_pending,
    order_resend,
    pause,
    resend_one,
    resume,
    step_resends,
    stop_resend,
)
from pbxhub.delivery.outbox.lost_attempts import release_leases
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, FAILED, PENDING, Delivery
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.webhooks.spec import Retry
from tests.support.outbox_world import (
    BUSY,
    FORWARD,
    NOON,
    OK,
    World,
    at,
    context_of,
    finish,
    forward,
    give_up,
    report,
    spec,
    take,
)

HOLD = 30  # seconds
SEEDS = {"sqlite": range(6), "postgresql": range(6, 10)}
STEPS = 120


def stages(first: int, last: int) -> list[Any]:
    return [forward(str(100 + step), step) for step in range(first, last + 1)]


def sent(claimed: Iterable[Claimed]) -> list[str]:
    """The numbers of the stages, as the requests have them."""
    return [one.request.body.partition(b'"forward_to":"')[2][:3].decode() for one in claimed]


def test_a_stage_that_hangs_lets_the_next_one_go_and_only_that(database: Database) -> None:
    world = World(database)
    world.webhook(FORWARD, spec(deadline=60))
    world.publish(report("1.1", *stages(1, 3)))
    first = take(database, 0).claimed
    assert sent(first) == ["101"]
    second = take(database, 31).claimed
    assert sent(second) == ["102"]
    assert take(database, 33).claimed == ()
    finish(database, first, OK, 40)
    assert take(database, 41).claimed == ()  # the second is still on its way
    finish(database, second, OK, 42)
    assert sent(take(database, 43).claimed) == ["103"]
    assert [row.out_of_order for row in world.deliveries()] == [False, True, False]


def test_what_a_pause_has_kept_leaves_one_by_one_however_slow_the_receiver_is(database: Database) -> None:
    world = World(database)
    webhook_id = world.webhook(FORWARD, spec(deadline=60))
    with database.write() as session:
        pause(session, webhook_id, "a test", NOON)
    world.publish(report("1.1", *stages(1, 4)), now=at(1))
    with database.write() as session:
        resume(context_of(database), session, webhook_id)
    left = {moment: sent(take(database, 3600 + moment).claimed) for moment in range(100)}
    assert {moment: bodies for moment, bodies in left.items() if bodies} == {
        0: ["101"],
        30: ["102"],
        60: ["103"],
        80: ["101"],
    }  # the first lease is over after 80 s: from then on, the lost one is ahead of the fourth again


def test_what_a_lost_worker_had_is_sent_again_before_the_next_stage(database: Database) -> None:
    world = World(database)
    world.webhook(FORWARD)
    world.publish(report("1.1", *stages(1, 3)))
    take(database, 0)
    again = take(database, 31).claimed
    assert sent(again) == ["101"]
    assert [one.attempt for one in again] == [2]
    assert take(database, 32).claimed == ()
    finish(database, again, BUSY, 33)
    assert sent(take(database, 33).claimed) == ["102"]
    assert not any(row.out_of_order for row in world.deliveries())


def test_stages_sent_again_keep_their_order_and_keep_no_live_call_waiting(database: Database) -> None:
    world = World(database)
    world.webhook(FORWARD)
    world.publish(report("1.1", *stages(1, 3)))
    for second in range(3):
        finish(database, take(database, second).claimed, BUSY, second + 0.5)
    with database.write() as session:
        order_resend(session, world.project_id, Selection(), 4, at(10), rate=100)
    assert step_resends(context_of(database), at(11)) == 3
    world.publish(report("1.1", *stages(4, 4)), now=at(11))
    both = take(database, 11).claimed
    assert sent(both) == ["104", "101"]
    finish(database, both, OK, 12)
    second = take(database, 12).claimed
    assert sent(second) == ["102"]
    finish(database, second, BUSY, 13)
    assert sent(take(database, 13).claimed) == ["103"]
    assert not any(row.out_of_order for row in world.deliveries())


def test_a_webhook_of_a_chain_keeps_the_order_too(database: Database) -> None:
    world = World(database)
    world.webhook(FORWARD, spec(on_success="next"))
    world.webhook("chain", name="next")
    world.publish(report("1.1", *stages(1, 2)))
    finish(database, take(database, 0).claimed, OK, 1)
    chained, second = sorted(take(database, 1).claimed, key=lambda one: -one.webhook.id)
    finish(database, [second], OK, 2)
    assert take(database, 2).claimed == ()  # the chain of the first stage is still on its way
    finish(database, [chained], OK, 3)
    assert [one.webhook.name for one in take(database, 3).claimed] == ["next"]


@dataclass
class Anything:
    """Does things in random order, and watches what leaves."""

    database: Database
    chance: random.Random
    now: float = 0.0
    steps: dict[str, int] = field(default_factory=dict)
    flying: dict[UUID, Claimed] = field(default_factory=dict)
    owed: set[UUID] = field(default_factory=set)  # in the queue, and no attempt of theirs has ended since
    left_at: dict[UUID, float] = field(default_factory=dict)  # the last attempt of each
    lost_at: dict[UUID, float] = field(default_factory=dict)  # when its lease is over
    before: dict[UUID, dict[str, Any]] = field(default_factory=dict)  # what was put into the queue again
    orders: list[UUID] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = World(self.database)
        self.world.webhook(FORWARD, spec(deadline=60))
        self.world.webhook(FORWARD, spec(retry=Retry("own", (5, 40)), in_flight=3, on_failure="next"))
        self.world.webhook("chain", name="next")

    def rows(self) -> dict[UUID, Delivery]:
        return {row.id: row for row in self.world.deliveries(Delivery.project_id == self.world.project_id)}

    def some_webhook(self) -> int:
        return self.chance.choice(self.world.webhooks)

    def publish(self) -> None:
        call = self.chance.choice(["1.1", "1.2"])
        first = self.steps.get(call, 0) + 1
        self.steps[call] = last = first + self.chance.randrange(3)
        known = set(self.rows())
        self.world.publish(report(call, *stages(first, last)), now=at(self.now))
        self.owed |= set(self.rows()) - known

    def wait(self) -> None:
        self.now += self.chance.choice([0.2, 1, 5, 12, 31, 90])

    def claim(self) -> None:
        old = self.rows()
        batch = take(self.database, self.now, self.chance.choice([1, 3, 100]), chance=self.chance.random())
        new = self.rows()
        for one in batch.claimed:
            self.left_at[one.id] = self.now
            self.lost_at[one.id] = (one.lease_until - NOON).total_seconds()
            self.flying[one.id] = one
        for one in batch.claimed:
            if one.id in self.owed:
                ahead = [p for p in self.ahead_of(new[one.id], new) if not self.has_had_its_time(p)]
                assert not ahead, f"{one.id} left before {ahead}"
                marked = new[one.id].out_of_order and not old[one.id].out_of_order
                assert not marked or self.ahead_of(new[one.id], new), f"{one.id} is not out of order"
        for result in give_up(self.database, batch, self.now):
            self.ended(result.finished.claimed.id)

    def ahead_of(self, row: Delivery, rows: dict[UUID, Delivery]) -> list[UUID]:
        place = (row.webhook_id, row.sequence_id)
        earlier = (rows[one] for one in self.owed if one < row.id)
        return [p.id for p in earlier if (p.webhook_id, p.sequence_id) == place and p.lane <= row.lane]

    def has_had_its_time(self, delivery_id: UUID) -> bool:
        return delivery_id in self.left_at and self.left_at[delivery_id] + HOLD <= self.now < self.lost_at[delivery_id]

    def ended(self, delivery_id: UUID) -> None:
        self.owed.discard(delivery_id)
        self.left_at.pop(delivery_id, None)
        self.before.pop(delivery_id, None)

    def finish(self) -> None:
        done = [one for one in self.flying.values() if self.chance.random() < 0.5]
        known = set(self.rows())
        for result in finish(self.database, done, self.chance.choice([OK, BUSY]), self.now):
            del self.flying[result.finished.claimed.id]
            if result.owned:
                self.ended(result.finished.claimed.id)
        self.owed |= set(self.rows()) - known  # chains

    def lose(self) -> None:
        if self.flying:
            del self.flying[self.chance.choice(list(self.flying))]

    def give_back(self) -> None:
        with self.database.write() as session:
            release_leases(context_of(self.database), session, self.flying.values(), at(self.now))
        self.lost_at |= dict.fromkeys(self.flying, self.now)
        self.flying.clear()

    def pause(self) -> None:
        with self.database.write() as session:
            pause(session, self.some_webhook(), "a test", at(self.now))

    def resume(self) -> None:
        with self.database.write() as session:
            resume(context_of(self.database), session, self.some_webhook())

    def switch(self, enabled: bool, webhook_ids: list[int]) -> None:
        with self.database.write() as session:
            session.execute(update(Webhook).where(Webhook.id.in_(webhook_ids)).values(enabled=enabled))
            touch_webhooks(session, self.world.project_id)
            for webhook_id in () if enabled else webhook_ids:
                cancel_pending(session, webhook_id, at(self.now))
        self.look_for_what_was_put_back()

    def disable(self) -> None:
        self.switch(False, [self.some_webhook()])

    def enable(self) -> None:
        self.switch(True, self.world.webhooks)

    def resend(self) -> None:
        old = self.rows()
        ended = [row.id for row in old.values() if row.state != PENDING]
        if ended:
            with self.database.write() as session:
                one, current = self.chance.choice(ended), self.chance.random() < 0.5
                try:
                    resend_one(
                        context_of(self.database),
                        session,
                        self.world.project_id,
                        one,
                        at(self.now),
                        current,
                    )
                except CannotResendError:
                    return
            self.put_again(old)

    def order(self) -> None:
        with self.database.write() as session:
            every = Selection(states=(FAILED, DELIVERED, CANCELLED))
            current = self.chance.random() < 0.5
            made = order_resend(
                session, self.world.project_id, every, 4, at(self.now), rate=1, current_settings=current
            )
            self.orders.append(made.id)

    def step(self) -> None:
        old = self.rows()
        step_resends(context_of(self.database), at(self.now))
        self.put_again(old)

    def put_again(self, old: dict[UUID, Delivery]) -> None:
        for row in self.rows().values():
            if row.state == PENDING and old[row.id].state != PENDING:
                self.owed.add(row.id)
                self.before[row.id] = columns(old[row.id])

    def stop(self) -> None:
        if self.orders:
            with self.database.write() as session:
                stop_resend(session, self.world.project_id, self.orders.pop(), at(self.now))
            self.look_for_what_was_put_back()

    def look_for_what_was_put_back(self) -> None:
        for row in self.rows().values():
            if row.id in self.owed and row.state != PENDING:
                if row.id in self.before:
                    assert columns(row) == self.before[row.id]
                self.ended(row.id)

    def drain(self) -> None:
        """Everything goes in the end."""
        self.enable()
        for webhook_id in self.world.webhooks:
            with self.database.write() as session:
                resume(context_of(self.database), session, webhook_id)
        while self.orders:
            self.stop()
        for _ in range(400):
            self.now += 31
            self.claim()
            self.finish()
            if not any(row.state == PENDING for row in self.rows().values()):
                return
        raise AssertionError([(row.id, row.held, row.due_at) for row in self.rows().values() if row.state == PENDING])


def columns(row: Delivery) -> dict[str, Any]:
    """What a user sees of it; attempts and marks of the order only grow."""
    left_out = {"attempts", "out_of_order", "resend_id"}
    return {one.key: getattr(row, one.key) for one in inspect(Delivery).column_attrs if one.key not in left_out}


OFTEN = ("publish", "wait", "claim", "claim", "claim", "finish", "finish", "step")
NOW_AND_THEN = (
    "lose",
    "give_back",
    "pause",
    "resume",
    "resume",
    "disable",
    "enable",
    "enable",
    "resend",
    "order",
    "stop",
)


def test_in_random_order(database: Database) -> None:
    for seed in SEEDS[database.engine.dialect.name]:
        anything = Anything(database, random.Random(seed))
        done: list[str] = []
        try:
            for _ in range(STEPS):
                done.append(anything.chance.choice(OFTEN if anything.chance.random() < 0.7 else NOW_AND_THEN))
                getattr(anything, done[-1])()
            anything.drain()
        except Exception as error:
            pytest.fail(f"seed {seed}, after {' '.join(done)}: {type(error).__name__}: {error}")
