"""A hundred calls ordered by API on a real Asterisk, the hub killed in the middle: each order ends once, as it must.

What must come of each order is known beforehand from whom it calls. Its program does what a program should: it sends
an order that was not answered again with the same Idempotency-Key. Figures are printed: see docs/benchmarks.md.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from typing import TypeVar
from uuid import UUID

import pytest
import requests
from sqlalchemy import select

from pbxhub.client import Client, OrderedCall, ProblemError
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.events import EventRow
from pbxhub.store.history import Call
from pbxhub.store.ordered_calls import FINAL
from pbxhub.store.ordered_calls import OrderedCall as Order
from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.pbx.asterisk import Asterisk, running_asterisk
from pbxhub.testing.phones.sipp import answering_phone, refusing_phone, talking_phone
from pbxhub.testing.receivers.mock_answers import Answer, text_response
from pbxhub.testing.receivers.mock_request import MockRequest
from pbxhub.testing.receivers.mock_server import MockServer, regex
from pbxhub.testing.waiting import await_until
from tests.support.calling_user import CallingUser

pytestmark = [pytest.mark.asterisk, pytest.mark.load, pytest.mark.slow]
RATE = 5  # orders a second
UP_AGAIN = 60.0  # seconds within which the killed hub must answer its programs
FOR_EVER = 60_000  # ms
T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """A kind of order: who is called, and what must come of it. cancel: called off so many seconds after the order."""

    number: str
    agent: str
    told: tuple[str, ...]
    reason: str = ""
    cancel: float = 0.0


TALK, NOBODY = ("registered", "ongoing", "completed"), ("registered", "failed")
KINDS = {
    Kind("15550001", "151", TALK): 56,
    Kind("15550001", "152", NOBODY, "The agent did not answer: BUSY."): 8,
    Kind("15550001", "153", NOBODY, "The agent did not answer: DECLINE."): 8,
    Kind("15550001", "154", NOBODY, "The agent did not answer: NO ANSWER."): 4,
    Kind("15551001", "151", NOBODY, "Not answered: BUSY."): 6,
    Kind("15552001", "151", NOBODY, "Not answered: DECLINE."): 4,
    Kind("15553001", "151", NOBODY, "Not answered: NO ANSWER."): 4,
    Kind(
        "15550001", "102", ("registered", "error"), "The agent's phone could not be reached: it is not registered."
    ): 2,
    Kind("15550001", "154", ("registered", "cancelled"), "Called off.", cancel=1.5): 4,
    Kind("15554001", "151", ("registered", "ongoing", "cancelled"), "Called off.", cancel=2.5): 4,
}


@dataclass
class Placed:
    """An order and the moments seen from outside, seconds since 1970. heard: first arrivals of its callbacks."""

    kind: Kind
    posted: float
    order: OrderedCall
    heard: list[tuple[float, str]] = field(default_factory=list)


@dataclass
class Arrivals:
    """Every callback as it arrived."""

    lock: Lock = field(default_factory=Lock)
    seen: list[tuple[float, str, str, str]] = field(default_factory=list)  # when, webhook-id, order, status

    def take(self, request: MockRequest) -> Answer:
        with self.lock:
            order, status = request.json("data.call_id"), request.json("data.status")
            self.seen.append((time.time(), str(request.header("webhook-id")), order, status))
        return text_response("ok")

    def first(self) -> dict[str, list[tuple[float, str]]]:
        """By order, not counting repetitions of one delivery."""
        ids, found = set[str](), dict[str, list[tuple[float, str]]]()
        with self.lock:
            for when, webhook_id, order, status in self.seen:
                if webhook_id not in ids:
                    ids.add(webhook_id)
                    found.setdefault(order, []).append((when, status))
        return found


@dataclass
class Line:
    pbx: Asterisk
    hub: Hub
    pbx_id: int
    arrivals: Arrivals
    callback_url: str
    key: Client

    def kill_hub(self) -> None:
        self.hub.kill()
        self.hub.start()
        self.hub.await_connected(self.pbx_id)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with ExitStack() as parts:
        pbx = parts.enter_context(running_asterisk(22))
        receiver = parts.enter_context(MockServer())
        arrivals = Arrivals()
        receiver.on("*", regex(".*"), arrivals.take)
        hub = parts.enter_context(Hub(tmp_path / "hub")).start()
        pbx_id = hub.listen_to(CallingUser(pbx.host, pbx.port), cel=pbx.cel_database)
        program = hub.client()
        path = f"/pbxs/{pbx_id}/dial-plan"
        program.change(path, program.get(path), {"at_once": 1000, "per_minute": 1000, "ring_seconds": 5})
        address = pbx.network.address
        for phone in (
            answering_phone(address(151)),
            refusing_phone(address(152), "486 Busy Here"),
            refusing_phone(address(153), "603 Decline"),
            answering_phone(address(154), FOR_EVER),
            talking_phone(pbx.trunk(0).address, talk_ms=1500),
            refusing_phone(pbx.trunk(1).address, "486 Busy Here"),
            refusing_phone(pbx.trunk(2).address, "603 Decline"),
            answering_phone(pbx.trunk(3).address, FOR_EVER),
            answering_phone(pbx.trunk(4).address),
        ):
            parts.enter_context(phone)
        yield Line(pbx, hub, pbx_id, arrivals, f"{receiver.url}/cb", program)


def insist(ask: Callable[[], T]) -> T:
    """Asks until the hub answers: it may be down."""
    until = time.monotonic() + UP_AGAIN
    while True:
        try:
            return ask()
        except requests.RequestException:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def ordered(line: Line, kind: Kind, number: int) -> OrderedCall:
    def ask(key: str) -> OrderedCall:
        return insist(
            lambda: line.key.order_call(
                kind.number, kind.agent, callback_url=line.callback_url, key=key, custom={"n": number}
            )
        )

    try:
        return ask(f"order-{number}")
    except ProblemError as problem:
        if problem.status != 409:
            raise
    # the hub was killed between the key and the answer: whether the order took effect, its row says
    with line.hub.database.read() as session:
        made = [order.id for order in session.scalars(select(Order)) if order.custom == {"n": number}]
    return line.key.call(str(made[0])) if made else ask(f"order-{number}-again")


def place(line: Line, kinds: Sequence[Kind], pull: Callable[[], None]) -> list[Placed]:
    """Orders them one after the other, calls off what is to be called off; pulls the plug in the middle."""
    placed, ends = list[Placed](), list[Thread]()
    plug = Thread(target=pull)
    for number, kind in enumerate(kinds):
        if number == len(kinds) // 2:
            plug.start()
        posted = time.time()
        order = ordered(line, kind, number)
        placed.append(Placed(kind, posted, order))
        if kind.cancel:
            ends.append(Thread(target=call_off, args=(line, placed[-1])))
            ends[-1].start()
        time.sleep(max(0.0, posted + 1 / RATE - time.time()))
    for thread in (plug, *ends):
        thread.join(90)
    return placed


def call_off(line: Line, one: Placed) -> None:
    """When it should have come as far as it gets: rings, or talks."""
    time.sleep(one.kind.cancel)
    if one.kind.told[-2] == "ongoing":
        insist(lambda: await_until(lambda: line.key.call(one.order.id).status == "ongoing", "30s"))
    insist(lambda: line.key.cancel(one.order.id))


def settle(line: Line, placed: Sequence[Placed]) -> None:
    """Waits until every order has ended and every callback is delivered."""

    def settled() -> None:
        with line.hub.database.read() as session:
            states = Counter(session.scalars(select(Order.status)))
            waiting = Counter(session.scalars(select(Delivery.state)))
        assert states.keys() <= FINAL, states
        assert set(waiting) == {"delivered"}, waiting

    await_until(settled, "100s")
    first = line.arrivals.first()
    for one in placed:
        one.heard = first.get(one.order.id, [])


def test_each_order_ends_once_as_it_must_and_tells_it_in_order(line: Line) -> None:
    kinds = spread(KINDS)
    placed = place(line, kinds, line.kill_hub)
    settle(line, placed)
    now = {one.order.id: line.key.call(one.order.id) for one in placed}
    wrong = [
        (one.kind, now[one.order.id].status, now[one.order.id].reason, [status for _, status in one.heard])
        for one in placed
        if (now[one.order.id].status, now[one.order.id].reason) != (one.kind.told[-1], one.kind.reason)
        or [status for _, status in one.heard] != list(one.kind.told)
    ]
    print(figures(line, placed))
    assert wrong == []
    assert {one.order.id for one in placed} == set(line.arrivals.first())
    assert len(now) == len(kinds)
    with line.hub.database.read() as session:
        assert len(session.scalars(select(Order.id)).all()) == len(kinds)  # none was taken for two
        told = session.scalars(select(EventRow).where(EventRow.type == "call_status_changed").order_by(EventRow.id))
        gone = dict[str, list[str]]()
        for event in told:
            gone.setdefault(str(event.data["order_id"]), []).append(str(event.data["status"]))
    assert gone == {one.order.id: list(one.kind.told) for one in placed}
    assert line.pbx.channels() == 0


def spread(kinds: dict[Kind, int]) -> list[Kind]:
    """All of them, each kind spread evenly over the whole."""
    places = [((index + 0.5) / count, kind) for kind, count in kinds.items() for index in range(count)]
    return [kind for _, kind in sorted(places, key=lambda place: place[0])]


def figures(line: Line, placed: Sequence[Placed]) -> str:
    """What docs/benchmarks.md tells: milliseconds, p50 and p99; those of orders that met the kill among them."""
    with line.hub.database.read() as session:
        rows = session.execute(
            select(Order.id, Order.ended_on, Call.started_on).outerjoin(Call, Call.id == Order.call_id)
        )
        known: dict[UUID, tuple[datetime | None, datetime | None]] = {row[0]: (row[1], row[2]) for row in rows}
    registered = [one.heard[0][0] - one.posted for one in placed if one.heard]
    leg, end = list[float](), list[float]()
    for one in placed:
        ended_on, started_on = known[UUID(one.order.id)]
        if started_on:
            leg.append((started_on - datetime.fromtimestamp(one.posted, UTC)).total_seconds())
        if ended_on and one.kind.told[-1] == "completed" and one.heard:
            end.append(one.heard[-1][0] - ended_on.timestamp())
    repeated = len(line.arrivals.seen) - sum(len(one.heard) for one in placed)
    statuses = Counter(one.heard[-1][1] for one in placed if one.heard)
    return "\n".join(
        [
            f"orders {len(placed)}: {dict(statuses)}; callbacks repeated {repeated}",
            f"POST to callback registered: {shown(registered)}",
            f"POST to the agent's leg: {shown(leg)}",
            f"end of the call to callback completed: {shown(end)}",
        ]
    )


def shown(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 for part in (0.5, 0.99))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms of {len(ordered)}"
