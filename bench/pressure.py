"""How fast a hub on PostgreSQL is while others disturb its database, and after a fault, compared with before.

python bench/pressure.py [--rounds 3] [--load 1200] [--seconds 2]

Real processes, from the bytes on the AMI socket to the request, as in line.py: 10 PBXs play calls faster than the hub
can send (--load deliveries a second), and what arrives is counted until the last has come, so the figure is the most
that the hub can do. A disturbance is there for all of its rounds; its rate is compared with the rounds without any
right before and right after it, because the speed of a machine drifts. Faults come between two rounds, while nothing is
in flight; a delivery that is lost or comes twice ends the run with an error.
"""

import argparse
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psycopg
from line import Subject, hub, measure
from rig.pbxs import Pbxs, pbxs
from rig.receiver import receiver

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
    "after its sessions were ended": sessions_ended,
    "after PostgreSQL was restarted": server_restarted,
}


def rates(subject: Subject, played: Pbxs, url: str, asked: argparse.Namespace) -> list[float]:
    return [measure(subject, played, url, asked.load, asked.seconds, timeout=60).rate for _ in range(asked.rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=int, default=1200)
    parser.add_argument("--seconds", type=float, default=2.0)
    asked = parser.parse_args()
    with receiver(0.0) as url, pbxs(10) as played, hub("postgresql", played, url) as subject:
        rates(subject, played, url, argparse.Namespace(**{**vars(asked), "rounds": 2}))  # warms up
        before = rates(subject, played, url, asked)
        for name, disturb in DISTURBANCES.items():
            with disturb(subject):
                during = rates(subject, played, url, asked)
            after = rates(subject, played, url, asked)
            ratio = statistics.median(during) / statistics.median(before + after)
            print(f"{name:32} {statistics.median(during):6.0f}/s   x {ratio:.2f}", flush=True)
            before = after


if __name__ == "__main__":
    main()
