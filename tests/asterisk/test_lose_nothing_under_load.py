"""Many calls a second on a real Asterisk, a plug pulled in the middle: no stage is lost, told twice or invented.

What must have been told is known from the caller's side: every call has a number of its own, and sipp keeps which were
answered and which went as they should to their end.
"""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.pbx.asterisk import Asterisk, running_asterisk
from pbxhub.testing.phones.sipp import answering_phone, place_calls
from pbxhub.testing.receivers.mock_answers import text_response
from pbxhub.testing.receivers.mock_server import MockServer, regex
from pbxhub.testing.waiting import await_until

pytestmark = [pytest.mark.asterisk, pytest.mark.load, pytest.mark.slow]
# LOAD=200/10 places 200 calls, 10 a second
CALLS, RATE = (int(number) for number in os.environ.get("LOAD", "100/20").split("/"))
TALK_MS = 1500
BEFORE, FORWARD, PICKUP, AFTER = STAGES = ("incoming.before", "incoming.forward", "incoming.pickup", "incoming.after")


@dataclass(frozen=True)
class Placed:
    """Numbers of the callers. known: those the hub had told of when the plug was pulled."""

    callers: Set[str]
    answered: Set[str]
    completed: Set[str]
    known: Set[str]


@dataclass
class Line:
    """A PBX under load, a hub that listens to it and reads its CEL, a receiver of every stage."""

    pbx: Asterisk
    hub: Hub
    pbx_id: int
    receiver: MockServer

    def told(self) -> dict[str, Counter[str]]:
        """How often the hub tells each stage, by caller."""
        told: dict[str, Counter[str]] = {}
        for stage in self.hub.stages():
            told.setdefault(str(stage.values["caller"]), Counter())[stage.name] += 1
        return told

    def ends(self) -> set[str]:
        """Why the calls ended, by the stage after."""
        return {str(stage.values["end_reason"]) for stage in self.hub.stages() if stage.name == AFTER}

    def kill_hub(self) -> None:
        self.hub.kill()
        self.hub.start()
        self.hub.await_connected(self.pbx_id)

    def restart_pbx(self, end: Callable[[], None]) -> None:
        end()
        self.pbx.start()
        self.hub.await_connected(self.pbx_id)

    def settle(self, callers: Set[str]) -> None:
        """Waits until each of these callers' calls is told to its end, and everything told is delivered."""

        def settled() -> None:
            told, deliveries = self.told(), self.hub.deliveries()
            missing = sorted(caller for caller in callers if not told.get(caller, Counter())[AFTER])
            assert not missing, f"{len(missing)} of {len(callers)} calls have no end: {missing}"
            assert not [call for call in self.hub.calls() if call.ended_on is None], "calls go on"
            assert len(deliveries) == len(self.hub.stages())
            states = Counter(one.state for one in deliveries)
            assert set(states) == {"delivered"}, states

        self.pbx.wait_idle(60)
        await_until(settled, "60s")

    def received(self) -> dict[str, Counter[str]]:
        """How often each stage arrived, by caller, not counting repetitions of one delivery."""
        first = {request.header("webhook-id"): request for request in self.receiver.requests}
        received: dict[str, Counter[str]] = {}
        for request in first.values():
            received.setdefault(str(request.json("caller")), Counter())[request.path.lstrip("/")] += 1
        return received

    def written(self) -> set[str]:
        """The callers of the calls in Asterisk's own CEL."""
        with closing(sqlite3.connect(f"file:{self.pbx.cel_database}?mode=ro", uri=True, timeout=5)) as database:
            began = "select cidnum from cel where eventtype = 'CHAN_START' and context = 'from-trunk'"
            return {caller for (caller,) in database.execute(began)}


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with ExitStack() as parts:
        pbx = parts.enter_context(running_asterisk(22))
        receiver = parts.enter_context(MockServer())
        receiver.respond("*", regex(".*"), text_response("ok"))
        hub = parts.enter_context(Hub(tmp_path / "hub")).start()
        for stage in STAGES:
            hub.webhook(stage, f"{receiver.url}/{stage}", parameters={"caller": "<<caller>>"}, limits={"deadline": 3})
        yield Line(pbx, hub, hub.listen_to(pbx, cel=pbx.cel_database), receiver)


def place(line: Line, pull: Callable[[], None] = lambda: None) -> Placed:
    """Places the calls; pulls the plug when half of them have begun."""
    network = line.pbx.network
    with (
        answering_phone(network.address(151)),
        place_calls(network.address(3), line.pbx.address, "5550251", CALLS, RATE, TALK_MS, "7900") as calls,
    ):
        await_until(lambda: len(line.told()) >= CALLS // 2 or not calls.running, "60s")
        known = set(line.told())
        pull()
        await_until(lambda: not calls.running, "120s")
        callers = {f"7900{number}" for number in range(1, CALLS + 1)}
        return Placed(callers, calls.answered, calls.completed, known)


def odd(told: dict[str, Counter[str]]) -> dict[str, dict[str, int]]:
    """The callers of which not every stage was told once."""
    return {caller: dict(stages) for caller, stages in told.items() if stages != Counter(STAGES)}


def check_all_told(line: Line, placed: Placed) -> None:
    assert placed.completed == placed.callers
    line.settle(placed.callers)
    assert odd(line.told()) == {}
    assert set(line.told()) == placed.callers
    assert line.received() == line.told()
    assert line.ends() == {"hangup"}


def test_nothing_is_lost_or_told_twice(line: Line) -> None:
    check_all_told(line, place(line))


def test_the_hub_is_killed_and_comes_back(line: Line) -> None:
    check_all_told(line, place(line, line.kill_hub))


def test_the_hub_is_killed_twice_and_comes_back(line: Line) -> None:
    def kill_twice() -> None:
        line.kill_hub()
        line.kill_hub()

    check_all_told(line, place(line, kill_twice))


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_asterisk_ends_and_comes_back(line: Line, end: str) -> None:
    """What is certain: a call of which anything was heard or written is told to its end; one that went as it should
    to its end is told whole. Asterisk may have taken in a call and died before it told or wrote that to anybody."""
    placed = place(line, lambda: line.restart_pbx(line.pbx.kill if end == "killed" else line.pbx.stop_now))
    line.settle(placed.completed | placed.known | line.written())
    told = line.told()
    assert set(told) <= placed.callers
    assert placed.callers - set(told) <= placed.callers - placed.completed - placed.known
    assert {caller: told[caller] for caller in odd(told) if caller in placed.completed} == {}
    assert [caller for caller, stages in told.items() if (stages[BEFORE], stages[AFTER]) != (1, 1)] == []
    assert [caller for caller, stages in told.items() if max(stages.values()) > 1] == []
    assert line.received() == told
    assert line.ends() <= {"hangup", "pbx_restarted"}
