"""Figures of the pure core: events per second through parse and feed, and bytes per live call.

python bench/tracker.py
"""

import gzip
import sys
import time
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pbxhub.calls.ami_events import EVENTS, parse
from pbxhub.calls.replay import blocks
from pbxhub.calls.tracker import Tracker

TRACES = Path(__file__).resolve().parents[1] / "tests" / "traces"
# What the hub asks Asterisk for; Cdr and answers to Status come at other times.
WANTED = EVENTS - {"Cdr", "Status", "CoreShowChannel"}
ROUNDS = 15
LIVE_CALLS = 5000


def stream() -> list[str]:
    """The minimal stream of all recordings, as it comes over the wire."""
    found = []
    for path in sorted(TRACES.glob("*.ami.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for block, _ in blocks(lines):
                if block.partition("\n")[0].removeprefix("Event: ") in WANTED:
                    found.append(block.replace("\n", "\r\n"))
    return found


def events_per_second(wire: list[str]) -> float:
    best = 0.0
    for _ in range(ROUNDS):
        tracker = Tracker()
        started = time.process_time()
        for block in wire:
            message = parse(block)
            if message is not None:
                tracker.feed(message)
        best = max(best, len(wire) / (time.process_time() - started))
    return best


def bytes_per_live_call() -> float:
    """An answered call, two channels, one ring and one pickup reported."""
    tracker = Tracker(most_calls=LIVE_CALLS)
    template = _answered_call()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(LIVE_CALLS):
        unique = f"1795{number:06}"
        for block in template:
            message = parse(block.replace("1795328662", unique))
            if message is not None:
                tracker.feed(message)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert tracker.live_calls == LIVE_CALLS
    return used / LIVE_CALLS


def _answered_call() -> list[str]:
    caller = "Channel: PJSIP/trunk-00000040\r\nCallerIDNum: 79161234567\r\nCallerIDName: Ivan Petrov\r\n"
    caller += "Context: from-trunk\r\nExten: 5550100\r\nUniqueid: 1795328662.125\r\nLinkedid: 1795328662.125\r\n"
    agent = "Channel: PJSIP/101-00000041\r\nCallerIDNum: 101\r\nContext: from-internal\r\nExten: s\r\n"
    agent += "Uniqueid: 1795328662.126\r\nLinkedid: 1795328662.125\r\n"
    dest = "".join(f"Dest{line}\r\n" for line in agent.strip().split("\r\n"))
    head = "Event: {}\r\nTimestamp: 1795328662.142456\r\n"
    return [
        head.format("Newchannel") + "ChannelStateDesc: Ring\r\n" + caller,
        head.format("Newchannel") + "ChannelStateDesc: Down\r\n" + agent,
        head.format("DialBegin") + caller + dest + "DialString: 101\r\n",
        head.format("DialEnd") + caller + dest + "DialStatus: ANSWER\r\n",
    ]


def main() -> None:
    wire = stream()
    print(f"parse + feed: {events_per_second(wire):,.0f} events/s ({len(wire)} events, best of {ROUNDS})")
    print(f"memory: {bytes_per_live_call():,.0f} bytes per live call ({LIVE_CALLS} answered calls)")


if __name__ == "__main__":
    main()
