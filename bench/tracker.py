"""Figures of the pure core: events per second through parse and feed, and bytes per live call.

python bench/tracker.py [--beside COMMIT]

--beside: the same recordings through the tracker of that commit as well (0.1.0, d3bf82f, or a later one), in turn, each
in processes of its own, and the memory of both. Of each event the least time counts: on a busy machine sums vary by a
fifth, sums of least times by a hundredth or two.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pbxhub.calls.ami_parser import EVENTS, parse
from pbxhub.calls.replay import blocks
from pbxhub.calls.tracker import Tracker

TRACES = Path(__file__).resolve().parents[1] / "tests" / "traces"
# What the hub asks Asterisk for; Cdr and answers to Status come at other times.
WANTED = EVENTS - {"Cdr", "Status", "CoreShowChannel"}
ROUNDS = 15
TURNS = 8
_THEIRS = """
import json, sys, time, tracemalloc
from importlib import import_module
sys.path.insert(0, sys.argv[1])
try:
    parse = import_module("pbxhub.calls.ami_parser").parse
except ImportError:
    try:
        parse = import_module("pbxhub.calls.ami_events").parse
    except ImportError:  # in 0.1.0
        parse = import_module("pbxhub.calls.messages").parse
from pbxhub.calls.tracker import Tracker

wire, template, rounds, live_calls = json.load(sys.stdin)
least = [1e9] * len(wire)
for _ in range(rounds):
    tracker = Tracker()
    for number, block in enumerate(wire):
        began = time.perf_counter()
        message = parse(block)
        if message is not None:
            tracker.feed(message)
        least[number] = min(least[number], time.perf_counter() - began)
tracker = Tracker(most_calls=live_calls)
tracemalloc.start()
before = tracemalloc.get_traced_memory()[0]
for number in range(live_calls):
    for block in template:
        message = parse(block.replace("1795328662", f"1795{number:06}"))
        if message is not None:
            tracker.feed(message)
print(json.dumps([least, (tracemalloc.get_traced_memory()[0] - before) / live_calls]))
"""
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


def beside(commit: str, wire: list[str]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds for all events and bytes per live call: of this checkout, of the commit."""
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as there:
        archive = subprocess.run(["git", "archive", commit, "pbxhub"], cwd=here, capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", there], input=archive.stdout, check=True)
        turns = [(_costs(str(here), wire), _costs(there, wire)) for _ in range(TURNS)]
    ours, theirs = (_least(found) for found in zip(*turns, strict=True))
    return ours, theirs


def _least(turns: Sequence[tuple[list[float], float]]) -> tuple[float, float]:
    return sum(map(min, *(seconds for seconds, _ in turns))), min(size for _, size in turns)


def _costs(root: str, wire: list[str]) -> tuple[list[float], float]:
    given = json.dumps([wire, _answered_call(), ROUNDS, LIVE_CALLS]).encode()
    done = subprocess.run([sys.executable, "-c", _THEIRS, root], input=given, capture_output=True, check=True)
    seconds, size = json.loads(done.stdout)
    return seconds, size


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", metavar="COMMIT")
    commit, wire = parser.parse_args().beside, stream()
    if commit:
        (ours, ours_held), (theirs, theirs_held) = beside(commit, wire)
        us, them = (seconds / len(wire) * 1e6 for seconds in (ours, theirs))
        print(f"beside {commit}: {us:.2f} and {them:.2f} µs an event: {them / us:.3f} times its events/s")
        print(
            f"and {ours_held:,.0f} and {theirs_held:,.0f} bytes per live call: {ours_held / theirs_held:.3f} times its"
        )
    print(f"parse + feed: {events_per_second(wire):,.0f} events/s ({len(wire)} events, best of {ROUNDS})")
    print(f"memory: {bytes_per_live_call():,.0f} bytes per live call ({LIVE_CALLS} answered calls)")


if __name__ == "__main__":
    main()
