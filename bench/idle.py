"""What a hub costs while no call comes: CPU of all its processes, and statements on PostgreSQL.

python bench/idle.py [--databases sqlite+postgresql] [--pbxs 1,50] [--seconds 30]

A process plays PBXs that are silent but for their answers to the hub's pings. CPU is in percent of one core, over so
many seconds, after the hub has logged in everywhere and settled. Statements are counted by the server; BEGIN, COMMIT
and the like apart from the rest.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from line import Subject, cpu_seconds, hub
from rig.pbxs import pbxs

_SETTLE = 10.0  # seconds
_COUNT = """
    SELECT coalesce(sum(calls) FILTER (WHERE NOT control), 0), coalesce(sum(calls) FILTER (WHERE control), 0)
      FROM (SELECT calls, query ~* '^(begin|commit|rollback|set|show|deallocate)' AS control
              FROM pg_stat_statements) counted"""


@dataclass(frozen=True, slots=True)
class Idle:
    """cpu, server_cpu: percent of a core. statements, control: a second."""

    who: str
    pbxs: int
    cpu: float
    server_cpu: float
    statements: float
    control: float

    def __str__(self) -> str:
        server = (
            f"  server {self.server_cpu:4.1f} %  {self.statements:5.1f} statements/s and {self.control:5.1f} of control"
        )
        return (
            f"{self.who:22} {self.pbxs:3} PBXs  {self.cpu:5.2f} %{server if self.who.startswith('postgresql') else ''}"
        )


def measure(subject: Subject, url: str, number: int, seconds: float) -> Idle:
    time.sleep(_SETTLE)
    before = cpu_seconds(subject.pids()), cpu_seconds(subject.server), *statements_since(url, reset=True)
    begun = time.monotonic()
    time.sleep(seconds)
    lasted = time.monotonic() - begun
    after = cpu_seconds(subject.pids()), cpu_seconds(subject.server), *statements_since(url)
    cpu, server, statements, control = ((now - old) / lasted for now, old in zip(after, before, strict=True))
    return Idle(subject.name, number, cpu * 100, server * 100, statements, control)


def statements_since(url: str, reset: bool = False) -> tuple[int, int]:
    """Statements that the server has executed since the last reset, those of control apart."""
    if not url:
        return 0, 0
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        if reset:
            connection.execute("SELECT pg_stat_statements_reset()")
            return 0, 0
        [statements, control] = connection.execute(_COUNT).fetchone() or (0, 0)
        return int(statements), int(control)


@contextmanager
def idle(kind: str, number: int) -> Iterator[tuple[Subject, str]]:
    with (
        pbxs(number) as played,
        hub(kind, played, "http://127.0.0.1:9", {"shared_preload_libraries": "pg_stat_statements"}) as subject,
    ):
        yield subject, subject.database


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", type=lambda text: text.split("+"), default=["sqlite", "postgresql"])
    parser.add_argument("--pbxs", type=lambda text: [int(one) for one in text.split(",")], default=[1, 50])
    parser.add_argument("--seconds", type=float, default=30.0)
    asked = parser.parse_args()
    for kind in asked.databases:
        for number in asked.pbxs:
            with idle(kind, number) as (subject, url):
                print(measure(subject, url, number, asked.seconds), flush=True)


if __name__ == "__main__":
    main()
