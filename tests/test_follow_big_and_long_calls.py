"""Queues, groups and pools of any size: the last of 300 phones answers, a caller waits for hours, 10,000 agents are
logged in all day, and nothing stays behind."""

import gc
import json
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from pbxhub.calls.ami_events import Bridge, DialBegin, DialEnd, Hangup, Message, Newchannel, Party
from pbxhub.calls.stages import CallReport, Stage
from pbxhub.calls.state import Channel, TrackedCall
from pbxhub.calls.tracker import Tracker

NOON = 1_795_300_000.0


class Queue:
    """One caller, and the phones that are rung for it, in the order in which Asterisk tells of them."""

    def __init__(self, number: int, local: bool) -> None:
        self.linkedid = f"{int(NOON) + number}.1"
        self.now = NOON + number
        self._local = local
        self._channels = 1

    def party(self, name: str, context: str, number: str, own: str = "") -> Party:
        if not own:
            self._channels += 1
            own = f"{self.linkedid[:-2]}.{self._channels}"
        return Party(own, self.linkedid, f"{name}-{self._channels:08x}", context, number)

    def comes(self) -> Iterator[Message]:
        caller = self.party("PJSIP/trunk", "from-trunk", "79161234567", self.linkedid)
        yield Newchannel(self.now, caller, "Ring", "5550100", "", {})

    def rings(self, extension: str) -> "tuple[list[Message], list[Party]]":
        """What is told when a phone begins to ring, and its channels: the phone's own last."""
        dialler, made, told = self.linkedid, [], list[Message]()
        if self._local:
            ends = [self.party(f"Local/{extension}@from-queue", "from-queue", extension) for _ in "12"]
            pair = [Party(end.uniqueid, end.linkedid, f"{ends[0].name};{n}", end.context, extension)
                    for n, end in enumerate(ends, 1)]  # fmt: skip
            told += [Newchannel(self.now, end, "Down", extension, "", {}) for end in pair]
            told.append(DialBegin(self.now, dialler, self.linkedid, "79161234567", pair[0], f"{extension}@from-queue"))
            dialler, made = pair[1].uniqueid, pair
        phone = self.party(f"PJSIP/{extension}", "from-internal", extension)
        told.append(Newchannel(self.now, phone, "Down", "s", "", {}))
        told.append(DialBegin(self.now, dialler, self.linkedid, "79161234567", phone, extension))
        return told, [*made, phone]

    def ends(self, made: list[Party], status: str) -> Iterator[Message]:
        """A phone's dial is over."""
        *pair, phone = made
        dialler = pair[1].uniqueid if pair else self.linkedid
        yield DialEnd(self.now, dialler, self.linkedid, phone, status, "")
        if pair:
            yield DialEnd(self.now, self.linkedid, self.linkedid, pair[0], status, "")

    def hangs_up(self, uniqueids: Iterable[str], cause: int = 26) -> Iterator[Message]:
        for uniqueid in uniqueids:
            yield Hangup(self.now, uniqueid, self.linkedid, cause, "", {})


def ringing_at_once(phones: int, local: bool) -> Iterator[Message]:
    """A group in which the phone that was rung last answers, talks for 50 seconds, and hangs up with the caller."""
    queue = Queue(0, local)
    yield from queue.comes()
    rung = []
    for extension in range(200, 200 + phones):
        told, made = queue.rings(str(extension))
        yield from told
        rung.append(made)
    queue.now += 5
    yield from queue.ends(rung[-1], "ANSWER")
    for made in rung[:-1]:
        yield from queue.ends(made, "CANCEL")
        yield from queue.hangs_up(party.uniqueid for party in made)
    queue.now += 50
    yield from queue.hangs_up([*(party.uniqueid for party in rung[-1]), queue.linkedid], 16)


def rounds(number: int, tries: int, local: bool, answered: bool) -> Iterator[Message]:
    """A caller who waits in a queue whose one free agent is busy again and again."""
    queue = Queue(number, local)
    yield from queue.comes()
    for attempt in range(tries):
        told, made = queue.rings("101")
        queue.now += 1
        yield from told
        if answered and attempt == tries - 1:
            yield from queue.ends(made, "ANSWER")
            queue.now += 30
            yield from queue.hangs_up((party.uniqueid for party in made), 16)
        else:
            yield from queue.ends(made, "BUSY")
            yield from queue.hangs_up((party.uniqueid for party in made), 17)
    yield from queue.hangs_up([queue.linkedid], 16)


def fed(tracker: Tracker, messages: Iterable[Message]) -> list[CallReport]:
    return [report for message in messages for report in tracker.feed(message)]


def stages(reports: Iterable[CallReport]) -> list[Stage]:
    return [stage for report in reports for stage in report.stages]


def kept(tracker: Tracker) -> dict[str, int]:
    """Whatever the tracker still holds, but for what it is meant to remember of calls that are over."""
    live = vars(tracker._live)
    remembered = {
        "incoming",
        "extensions",
        "trunks",
        "_gone",
        "_most_calls",
        "_touched",
    }  # the last is empty once it was asked for
    return {name: len(held) for name, held in live.items() if name not in remembered and len(held)}


@pytest.mark.parametrize("local", [True, False], ids=["behind Local channels", "direct"])
@pytest.mark.parametrize("phones", [20, 22, 63, 80, 300])
def test_the_answer_of_the_phone_rung_last_is_the_pickup_however_many_ring(phones: int, local: bool) -> None:
    tracker = Tracker()
    told = stages(fed(tracker, ringing_at_once(phones, local)))
    forwards = [stage.key for stage in told if stage.name == "incoming.forward"]
    assert forwards == [str(200 + phone) for phone in range(phones)]
    assert [stage.key for stage in told if stage.name == "incoming.pickup"] == [str(199 + phones)]
    after = told[-1]
    assert (after.name, after.values["disposition"], after.values["billsec"]) == ("incoming.after", "ANSWERED", 50)
    assert len(after.values["legs"]) == phones  # type: ignore[arg-type]
    assert kept(tracker) == {}


def test_a_caller_who_waits_for_two_hours_costs_no_more_memory_than_one_who_waits_for_minutes() -> None:
    """5,000 tries; what the first came to still counts at the end."""
    tracker, sizes, notes = Tracker(), [0], [0]
    for message in rounds(0, 5000, local=True, answered=True):
        for report in tracker.feed(message):
            notes.append(len(json.dumps(report.memory)))
        sizes.append(sum(len(call.channels) for call in tracker._live._calls.values()))
        assert len(tracker._live._by_channel) == sizes[-1]
    assert max(sizes) < 150
    assert max(notes) < 40_000
    assert kept(tracker) == {}


def test_a_decline_that_was_forgotten_long_ago_still_decides_the_outcome() -> None:
    tracker, queue = Tracker(), Queue(0, local=False)
    fed(tracker, queue.comes())
    told, made = queue.rings("101")
    fed(tracker, [*told, *queue.ends(made, "NOANSWER"), *queue.hangs_up([made[0].uniqueid], 21)])
    for _ in range(400):
        told, made = queue.rings("102")
        fed(tracker, [*told, *queue.ends(made, "BUSY"), *queue.hangs_up([made[0].uniqueid], 17)])
    (report,) = fed(tracker, queue.hangs_up([queue.linkedid]))
    assert report.disposition == "DECLINE"


def test_late_events_of_a_channel_forgotten_long_ago_change_nothing() -> None:
    tracker, queue = Tracker(), Queue(0, local=False)
    fed(tracker, queue.comes())
    told, first = queue.rings("101")
    late = [*told, *queue.ends(first, "BUSY"), *queue.hangs_up([first[0].uniqueid], 17)]
    fed(tracker, late)
    for _ in range(400):
        told, made = queue.rings("101")
        fed(tracker, [*told, *queue.ends(made, "BUSY"), *queue.hangs_up([made[0].uniqueid], 17)])
    assert fed(tracker, late) == []
    assert [stage.name for stage in stages(fed(tracker, queue.hangs_up([queue.linkedid])))] == ["incoming.after"]
    assert kept(tracker) == {}


def test_ten_thousand_queue_calls_leave_nothing_behind() -> None:
    gc.collect()
    before = sum(isinstance(each, TrackedCall | Channel) for each in gc.get_objects())
    tracker, ended = Tracker(), 0
    for number in range(10_000):
        tries = 150 if number % 200 == 0 else 2
        reports = fed(tracker, rounds(number * 1000, tries, local=number % 2 == 0, answered=number % 3 == 0))
        ended += sum(report.ended_on is not None for report in reports)
    assert (ended, tracker.live_calls, kept(tracker)) == (10_000, 0, {})
    gc.collect()
    assert sum(isinstance(each, TrackedCall | Channel) for each in gc.get_objects()) == before


def logs_in(number: int) -> Iterator[Message]:
    own = f"{int(NOON)}.{number}"
    phone = Party(own, own, f"PJSIP/{20_000 + number}-{number:08x}", "from-internal", str(20_000 + number))
    yield Newchannel(NOON, phone, "Ring", "*11", "", {})
    yield Bridge(NOON + 1, own, own, {}, f"hold-{number}", "agent_hold")


def is_served(number: int, agent: int, start: float) -> Iterator[Message]:
    """A caller talks to an agent for half a minute; from then on the caller's channel has the agent's linkedid, which
    is older."""
    own, taken, bridge = f"{int(start)}.{number}", f"{int(NOON)}.{agent}", f"call-{number}"
    caller = Party(own, own, f"PJSIP/trunk-{number:08x}", "from-trunk", "79161234567")
    yield Newchannel(start, caller, "Ring", "5550100", "", {})
    yield Bridge(start + 1, own, own, {}, bridge, "basic")
    yield Bridge(start + 2, taken, taken, {}, bridge, "basic")
    yield Hangup(start + 32, own, taken, 16, "", {})
    yield Bridge(start + 33, taken, taken, {}, f"hold-{agent}", "agent_hold")


@pytest.mark.slow
def test_ten_thousand_agents_take_calls_all_day_and_nothing_of_these_stays() -> None:
    tracker = Tracker()
    tracker.expect_bridges()
    agents = 10_000
    fed(tracker, (message for number in range(agents) for message in logs_in(number)))
    tracker.notes()
    before = kept(tracker)
    told: Counter[str] = Counter()
    for number in range(agents, 2 * agents):
        reports = fed(tracker, is_served(number, number * 7 % agents, NOON + 10 + 4 * number))
        told.update(stage.name for stage in stages(reports))
    assert told == dict.fromkeys(("incoming.before", "incoming.pickup", "incoming.after"), agents)
    tracker.notes()
    assert (tracker.live_calls, kept(tracker)) == (agents, before)
    assert max(len(json.dumps(notes)) for notes in tracker.all_notes().values()) < 2000
