"""Figures of the pure core: events per second through parse and feed, and bytes per live call.

python bench/tracker.py [--beside COMMIT]

--beside: the same recordings through the tracker of that commit as well, in turn, each in processes of its own. Of each
event the least time counts: on a busy machine sums vary by a fifth, sums of least times by a hundredth or two.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
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
_COSTS = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
try:
    from pbxhub.calls.ami_parser import parse
except ImportError:  # in 0.1.0
    from pbxhub.calls.messages import parse
from pbxhub.calls.tracker import Tracker

wire, rounds = json.load(sys.stdin), int(sys.argv[2])
least = [1e9] * len(wire)
for _ in range(rounds):
    tracker = Tracker()
    for number, block in enumerate(wire):
        began = time.perf_counter()
        message = parse(block)
        if message is not None:
            tracker.feed(message)
        least[number] = min(least[number], time.perf_counter() - began)
print(json.dumps(least))
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


def beside(commit: str, wire: list[str]) -> tuple[float, float]:
    """Seconds for all events: of this checkout, of the commit."""
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as there:
        archive = subprocess.run(["git", "archive", commit, "pbxhub"], cwd=here, capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", there], input=archive.stdout, check=True)
        turns = [(_costs(str(here), wire), _costs(there, wire)) for _ in range(TURNS)]
    ours, theirs = (sum(map(min, *found)) for found in zip(*turns, strict=True))
    return ours, theirs


def _costs(root: str, wire: list[str]) -> list[float]:
    command = [sys.executable, "-c", _COSTS, root, str(ROUNDS)]
    done = subprocess.run(command, input=json.dumps(wire).encode(), capture_output=True, check=True)
    return [float(seconds) for seconds in json.loads(done.stdout)]


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
        ours, theirs = (seconds / len(wire) * 1e6 for seconds in beside(commit, wire))
        print(f"beside {commit}: {ours:.2f} and {theirs:.2f} µs an event: {theirs / ours:.3f} times its events/s")
    print(f"parse + feed: {events_per_second(wire):,.0f} events/s ({len(wire)} events, best of {ROUNDS})")
    print(f"memory: {bytes_per_live_call():,.0f} bytes per live call ({LIVE_CALLS} answered calls)")


if __name__ == "__main__":
    main()
