"""A PostgreSQL of two nodes: a primary, and a standby that has every commit before it is acknowledged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from pbxhub.testing.hub.postgres import Cluster
from pbxhub.testing.waiting import await_until

# the disk itself would only make each start slow: what has reached the operating system survives a kill -9
_SETTINGS = {"synchronous_standby_names": "*", "fsync": "off", "full_page_writes": "off", "wal_keep_size": "256MB"}


@dataclass
class TwoNodes:
    """start() after the primary was killed is a failover: the standby takes over, and a new standby follows it."""

    folder: Path
    failovers: int = 0
    _nodes: list[Cluster] = field(default_factory=list)  # the primary first

    def create(self) -> None:
        for name in ("first", "second"):
            (self.folder / name).mkdir()
            self._nodes.append(Cluster(self.folder / name, durable=True))
        primary, standby = self._nodes
        primary.create()
        primary.start()
        standby.follow(primary, _SETTINGS)
        standby.start()
        _set(primary, _SETTINGS)

    def deafen(self) -> None:
        """From here on the standby gets nothing and the primary does not wait for it: what the next failover loses."""
        primary, standby = self._nodes
        _set(primary, {"synchronous_standby_names": ""})
        _set(standby, {"primary_conninfo": ""})
        await_until(lambda: _ask(standby, "SELECT count(*) FROM pg_stat_wal_receiver") == 0)

    @property
    def pid(self) -> int:
        """Of the server that takes writes."""
        return self._nodes[0].pid

    def start(self) -> None:
        """Everything that is committed is committed on both again when it returns. Raises RuntimeError: try again."""
        primary, standby = self._nodes
        if not _takes_writes(standby):
            standby.promote()
        primary.follow(standby, _SETTINGS)
        primary.start()
        self._nodes.reverse()
        self.failovers += 1

    def stop(self) -> None:
        for node in self._nodes:
            node.stop()

    def url(self, name: str) -> str:
        """Both hosts, always in the same order: whichever takes writes is found."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in sorted(node.port for node in self._nodes))
        return f"postgresql+psycopg://pbxhub@{hosts}/{name}"


def _takes_writes(node: Cluster) -> bool:
    return _ask(node, "SELECT pg_is_in_recovery()") is False


def _set(node: Cluster, settings: Mapping[str, str]) -> None:
    with _connected(node) as admin:
        for name, value in settings.items():
            admin.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        admin.execute("SELECT pg_reload_conf()")


def _ask(node: Cluster, question: str) -> Any:
    with _connected(node) as connection:
        row = connection.execute(question).fetchone()
    assert row
    return row[0]


def _connected(node: Cluster) -> "psycopg.Connection[Any]":
    return psycopg.connect(node.url("postgres").replace("+psycopg", ""), autocommit=True)
