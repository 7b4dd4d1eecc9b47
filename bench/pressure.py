"""How fast a hub is while others disturb its database, after a fault, in bursts, and with a long history.

python bench/pressure.py [--rounds 3] [--load 1200] [--seconds 2] [--held MINUTES] [--only DISTURBANCE,...]
python bench/pressure.py --stored 1000000 [--databases sqlite+postgresql]

Real processes, from the bytes on the AMI socket to the request, as in line.py: 10 PBXs play calls faster than a hub on
PostgreSQL can send (--load deliveries a second), and what arrives is counted until the last has come, so the figure is
the most that the hub can do. A disturbance is there for all of its rounds; its rate is compared with the rounds without
any right before and right after it, because the speed of a machine drifts. With --held a transaction is held open for
so many minutes of rounds, and its figure is that of the last ones. "half as much again" plays one and a half times the
load, "bursts" four times the load, each for a quarter of the time. Faults come between two rounds, while nothing is in
flight. With --stored two hubs play in turn, of which one has that many old deliveries. A delivery that is lost or comes
twice ends the run with an error.
"""

import argparse
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psycopg
from line import Subject, hub, measure
from old_rows import fill
from rig.pbxs import Pbxs, pbxs
from rig.receiver import receiver
from rig.scripts import STAGES

from pbxhub.database_url import connect_arguments

_READERS = 4
Disturbance = Callable[[Subject], AbstractContextManager[None]]


def connect(subject: Subject) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(**{**connect_arguments(subject.database), "autocommit": True})


@contextmanager
def held_transaction(subject: Subject) -> Iterator[None]:
    """Somebody's transaction that has read and does not end: no dead row can be removed."""
    with connect(subject) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM delivery")
        yield


@contextmanager
def long_readers(subject: Subject) -> Iterator[None]:
    """Four sessions that read all attempts slowly, again and again, each in one statement."""
    stop = threading.Event()

    def read() -> None:
        with connect(subject) as connection:
            while not stop.is_set():
                with connection.transaction(), connection.cursor("slow") as cursor:
                    cursor.execute("SELECT * FROM attempt")
                    while cursor.fetchmany(100) and not stop.wait(0.2):
                        pass

    readers = [threading.Thread(target=read) for _ in range(_READERS)]
    for reader in readers:
        reader.start()
    try:
        yield
    finally:
        stop.set()
        for reader in readers:
            reader.join()


@contextmanager
def sessions_ended(subject: Subject) -> Iterator[None]:
    """Before: the server ends all sessions of the hub, as an administrator or a failover does."""
    with connect(subject) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    yield


@contextmanager
def server_restarted(subject: Subject) -> Iterator[None]:
    """Before: the server was restarted."""
    assert subject.cluster is not None
    subject.cluster.stop()
    subject.cluster.start()
    yield


@contextmanager
def nothing(_subject: Subject) -> Iterator[None]:
    """The vacuity twin: what this machine's own drift looks like."""
    yield


DISTURBANCES: dict[str, Disturbance] = {
    "nothing": nothing,
    "a transaction held open": held_transaction,
    "four long readers": long_readers,
    "half as much again": nothing,
    "bursts": nothing,
    "after its sessions were ended": sessions_ended,
    "after PostgreSQL was restarted": server_restarted,
}


@dataclass(frozen=True, slots=True)
class Played:
    """A hub, what it hears, and how much: load deliveries a second for so many seconds."""

    subject: Subject
    pbxs: Pbxs
    url: str
    load: float
    seconds: float

    def rates(self, rounds: int, factor: float = 1.0, shorter: float = 1.0) -> list[float]:
        return [self._rate(factor, shorter) for _ in range(rounds)]

    def rates_for(self, minutes: float) -> list[float]:
        """Of the last two rounds of so many minutes, and of three rounds at least."""
        found, ends = list[float](), time.monotonic() + minutes * 60
        while len(found) < 3 or time.monotonic() < ends:
            found += self.rates(1)
        return found[-2:]

    def _rate(self, factor: float, shorter: float) -> float:
        figure = measure(
            self.subject, self.pbxs, self.url, self.load * factor, self.seconds / shorter, timeout=60
        )  # fmt: skip
        return figure.rate


def disturbed(played: Played, name: str, asked: argparse.Namespace) -> list[float]:
    with DISTURBANCES[name](played.subject):
        if name == "a transaction held open" and asked.held:
            rates = played.rates_for(asked.held)
            print(f"{'':32} dead rows of deliveries that nobody may remove: {dead_rows(played.subject)}")
            return rates
        factor, shorter = {"half as much again": (1.5, 1.0), "bursts": (4.0, 4.0)}.get(name, (1.0, 1.0))
        return played.rates(asked.rounds, factor, shorter)


def dead_rows(subject: Subject) -> int:
    with connect(subject) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        [row] = connection.execute("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'delivery'").fetchall()
        return int(str(row[0]))


def disturb(asked: argparse.Namespace) -> None:
    with receiver(0.0) as url, pbxs(10) as heard, hub("postgresql", heard, url) as subject:
        played = Played(subject, heard, url, asked.load, asked.seconds)
        played.rates(2)  # warms up
        before = played.rates(asked.rounds)
        for name in asked.only or DISTURBANCES:
            during = disturbed(played, name, asked)
            after = played.rates(asked.rounds)
            ratio = statistics.median(during) / statistics.median(before + after)
            print(f"{name:32} {statistics.median(during):6.0f}/s   x {ratio:.2f}   load {os.getloadavg()[0]:.1f}",
                  flush=True)  # fmt: skip
            before = after


def beside_old(kind: str, old: int, asked: argparse.Namespace) -> None:
    with (
        receiver(0.0) as url, pbxs(10) as one, pbxs(10) as other,
        hub(kind, one, url) as few, hub(kind, other, url) as many,
    ):  # fmt: skip
        assert many.opened
        fill(many.opened, old, 500, webhooks=len(STAGES))
        hubs = [
            Played(subject, heard, url, asked.load, asked.seconds) for subject, heard in ((few, one), (many, other))
        ]
        for played in hubs:
            played.rates(1)  # warms up
        pairs = [(*hubs[0].rates(1), *hubs[1].rates(1)) for _ in range(asked.rounds)]
        empty, full = (statistics.median(rates) for rates in zip(*pairs, strict=True))
        print(f"{kind:12} {old} old deliveries: {full:6.0f}/s, without {empty:6.0f}/s   x {full / empty:.2f}   "
              f"load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=int, default=1200)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--held", type=float, default=0.0)
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("--stored", type=int, default=0)
    parser.add_argument("--databases", type=lambda text: text.split("+"), default=["sqlite", "postgresql"])
    asked = parser.parse_args()
    if asked.stored:
        for kind in asked.databases:
            beside_old(kind, asked.stored, asked)
    else:
        disturb(asked)


if __name__ == "__main__":
    main()
