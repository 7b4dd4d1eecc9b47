"""From the bytes on the AMI socket to the request at the receiver: real processes, real calls, four stages of each.

python bench/line.py [--databases sqlite,postgresql] [--pbxs 1,10] [--rates 40,400] [--seconds 10] [--limit 8000]
                     [--slow] [--json FILE] [--check FILE]

A process plays answered calls of N PBXs. Each stage has one webhook with the limits that the account sets. A receiver
in a process of its own answers 204 at once (--slow: also after 200 ms). A rate counts deliveries, four to a call.
Latency is the time from the write of the event that causes a stage to the arrival of its request; a request that never
comes, or comes twice, ends the run with an error. --limit plays more than the hub can take and counts what arrives
until the last has come. CPU is that of all processes of the hub, user and system, for each delivery; the PostgreSQL
server is counted apart. The same run measures what people write instead: a script of 30 lines and a Node.js script,
which store nothing.

--json writes the figures. --check compares with such a file: the CPU of a delivery, as a multiple of the script's in
the same run, may not be more than 20 % above what it was, and its median latency not more than 10 times what it was: a
hub that falls behind writes larger groups, which look cheaper.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.pbxs import Pbxs, pbxs
from rig.receiver import arrivals, receiver
from rig.scripts import SCRIPT, STAGES, commands

from pbxhub.store.session import Database
from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.hub.postgres import Cluster
from pbxhub.testing.processes import Program

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
WORSE, BEHIND = 1.2, 10.0
PROCESSES = {"sqlite": ("run",), "postgresql": ("run",), "postgresql, several": ("listen", "work", "work", "web")}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement. asked: deliveries a second that were played. rate: that arrived, calls of two seconds included.

    Times in milliseconds, CPU in microseconds for each delivery, memory in MB.
    """

    who: str
    pbxs: int
    asked: int
    rate: float
    p50: float
    p99: float
    cpu: float
    server_cpu: float
    memory: float

    def __str__(self) -> str:
        server = f" + {self.server_cpu:.0f}" if self.server_cpu else ""
        return (
            f"{self.who:24} {self.pbxs:3} PBXs {self.asked:5}/s ({self.rate:4.0f}/s)   "
            f"p50 {self.p50:7.1f}  p99 {self.p99:7.1f} ms   "
            f"CPU {self.cpu:5.0f}{server} us   {self.memory:4.0f} MB   load {os.getloadavg()[0]:.1f}"
        )


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody who turns events into requests. pids: his processes; cluster: his PostgreSQL, if he has one; opened: his
    database, likewise."""

    name: str
    pids: Callable[[], Sequence[int]]
    cluster: Cluster | None = None
    opened: Database | None = None

    @property
    def server(self) -> Sequence[int]:
        """The processes of his PostgreSQL."""
        return _family(self.cluster.pid) if self.cluster else ()

    @property
    def database(self) -> str:
        return self.cluster.url("pbxhub") if self.cluster else ""


def measure(subject: Subject, played: Pbxs, url: str, rate: float, seconds: float, timeout: float = 20.0) -> Figure:
    """Plays calls for so many seconds, and waits until every request has come."""
    arrivals(url)
    cpu, server = cpu_seconds(subject.pids()), cpu_seconds(subject.server)
    written = played.play(rate / len(STAGES), max(1, int(rate * seconds / len(STAGES))))
    there = _await_all(url, written, timeout, subject.name)
    begun, ended = min(written.values()), max(there.values())
    taken = sorted((there[moment] - at) * 1000 for moment, at in written.items())
    number = len(written)
    return Figure(
        subject.name, len(played.addresses), int(rate), number / max(ended - begun, seconds), taken[number // 2],
        taken[min(number - 1, number * 99 // 100)], (cpu_seconds(subject.pids()) - cpu) / number * 1e6,
        (cpu_seconds(subject.server) - server) / number * 1e6, sum(map(_memory, subject.pids())) / 1e6,
    )  # fmt: skip


def _await_all(url: str, written: Mapping[str, float], timeout: float, who: str) -> dict[str, float]:
    there: dict[str, float] = {}
    last = time.monotonic()
    while written.keys() - there.keys():
        if found := arrivals(url):
            assert not found.keys() & there.keys(), f"{who}: came twice: {sorted(found.keys() & there.keys())[:5]}"
            there |= found
            last = time.monotonic()
        missing = sorted(written.keys() - there.keys())
        assert time.monotonic() - last < timeout, f"{who}: {len(missing)} never came, {missing[:5]} among them"
        time.sleep(0.2)
    assert not there.keys() - written.keys(), f"{who}: nobody asked for {sorted(there.keys() - written.keys())[:5]}"
    return there


def cpu_seconds(pids: Sequence[int]) -> float:
    """Seconds of user and system time, with that of children that have ended."""
    return sum(sum(map(int, _stat(pid)[11:15])) / _TICK for pid in pids)


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name of the program."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _family(root: int) -> list[int]:
    """A process and its children."""
    others = [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]
    children = []
    for pid in others:
        try:
            if int(_stat(pid)[1]) == root:
                children.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [root, *children]


@contextmanager
def hub(kind: str, played: Pbxs, url: str, settings: Mapping[str, str] | None = None) -> Iterator[Subject]:
    """A hub of that kind that hears all the PBXs, one webhook on each stage. settings: of its PostgreSQL."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database, server = "", None
        if kind.startswith("postgresql"):
            server = Cluster(Path(stack.enter_context(tempfile.TemporaryDirectory())), durable=True)
            server.create(settings or {})
            server.start()
            stack.callback(server.stop)
            database = server.url("pbxhub")
        one = stack.enter_context(Hub(folder, database, commands=PROCESSES[kind])).start()
        for stage in STAGES.values():
            one.webhook(
                f"incoming.{stage}", f"{url}/hook",
                request={"headers": [{"name": "moment", "value": "<<call_id>> <<event>>"}]},
            )  # fmt: skip
        for address in played.addresses:
            one.listen_to(address)
        yield Subject(
            kind, lambda: [pid for root in one.pids for pid in _family(root)], server, one.database
        )  # fmt: skip


def others(played: Pbxs, url: str) -> Iterator[Subject]:
    """Those who do the same in a few lines, on the first PBX, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        for name, command in commands(played.addresses[0].port, f"{url}/hook", Path(folder)).items():
            script = Program(command, Path(folder) / "log")
            time.sleep(1.5)  # until it has logged in: neither says when
            yield Subject(name, lambda script=script: [script.pid])  # type: ignore[misc]
            script.kill()


def compare(asked: argparse.Namespace, url: str) -> Iterator[Figure]:
    with pbxs(1) as played:
        for subject in others(played, url):
            for rate in asked.rates:
                yield measure(subject, played, url, rate, asked.seconds)
    for kind in asked.databases:
        for number in asked.pbxs:
            with pbxs(number) as played, hub(kind, played, url) as subject:
                measure(subject, played, url, 40, 2)  # warms up: compiled webhooks, plans, connections
                for rate in asked.rates:
                    yield measure(subject, played, url, rate, asked.seconds)
                if asked.limit:
                    yield measure(subject, played, url, asked.limit, 3, timeout=60)


def regressions(now: Sequence[Figure], before: Sequence[Figure]) -> list[str]:
    """What has become dearer by more than WORSE, as multiples of the script: this machine's own speed drops out. And
    who fell behind."""
    old = _multiples(before)
    return _behind(now, before) + [
        f"{who}, {pbxs} PBXs, {rate}/s: {multiple:.2f} x the script, {old[who, pbxs, rate]:.2f} before"
        for (who, pbxs, rate), multiple in _multiples(now).items()
        if multiple > WORSE * old.get((who, pbxs, rate), float("inf"))
    ]


def _behind(now: Sequence[Figure], before: Sequence[Figure]) -> list[str]:
    took = {(figure.who, figure.pbxs, figure.asked): figure.p50 for figure in before if figure.who in PROCESSES}
    pairs = [(figure, took.get((figure.who, figure.pbxs, figure.asked), float("inf"))) for figure in now]
    return [
        f"{one.who}, {one.pbxs} PBXs, {one.asked}/s: it fell behind, p50 {one.p50:.0f} ms, {old:.1f} before"
        for one, old in pairs
        if one.p50 > BEHIND * old
    ]


def _multiples(figures: Sequence[Figure]) -> dict[tuple[str, int, int], float]:
    scripts = {figure.asked: figure.cpu for figure in figures if figure.who == SCRIPT}
    return {
        (figure.who, figure.pbxs, figure.asked): (figure.cpu + figure.server_cpu) / scripts[figure.asked]
        for figure in figures
        if figure.asked in scripts and figure.who in PROCESSES
    }


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", type=lambda text: text.split("+"), default=list(PROCESSES))
    parser.add_argument("--pbxs", type=_numbers, default=[1, 10])
    parser.add_argument("--rates", type=_numbers, default=[40, 400])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--limit", type=int, default=8000)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", type=Path)
    asked = parser.parse_args()
    found: list[Figure] = []
    for wait in (0.0, 0.2) if asked.slow else (0.0,):
        print(f"== a receiver that answers after {wait * 1000:.0f} ms")
        with receiver(wait) as url:
            for figure in compare(asked, url):
                print(figure, flush=True)
                found.append(figure)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(figure) for figure in found], indent=1) + "\n")
    if asked.check and (
        worse := regressions(found, [Figure(**figure) for figure in json.loads(asked.check.read_text())])
    ):
        sys.exit("\n".join(worse))


if __name__ == "__main__":
    main()
