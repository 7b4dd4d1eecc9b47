"""PostgreSQL on three hosts with the configuration that the hub ships: etcd, Patroni, one synchronous standby."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from hosts.network import Host

from pbxhub.testing.waiting import await_until

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "high-availability"
PASSWORD = "PASSWORD"
_FIRST = ("db1", "192.0.2.11")  # the host that the shipped files are written for


class PostgresCluster:
    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = tuple(hosts)

    def start(self) -> None:
        """Returns when it takes writes and has a synchronous standby, with the hub's database in it."""
        for host in self.hosts:
            self.start_on(host)
        self.await_whole()
        for statement in (f"CREATE ROLE pbxhub LOGIN PASSWORD '{PASSWORD}'", "CREATE DATABASE pbxhub OWNER pbxhub"):
            self.ask(statement)

    def start_on(self, host: Host) -> None:
        """As systemd does at boot."""
        own_folder = {"ETCD_DATA_DIR": "/var/lib/etcd/default"}  # Debian's unit says so
        host.run("etcd", "/usr/bin/etcd", environ=_variables("etcd.env", host) | own_folder)
        host.run("patroni", "/usr/bin/patroni", str(SHIPPED / "patroni.yml"),
                 environ=_variables("patroni.env", host), user="postgres")  # fmt: skip

    def members(self) -> dict[str, str]:
        """The role of each node that runs, as Patroni sees it: leader, sync_standby, replica. Empty: nobody answers."""
        for host in self.hosts:
            try:
                found: dict[str, Any] = requests.get(f"http://{host.address}:8008/cluster", timeout=2).json()
            except (requests.RequestException, ValueError):
                continue
            return {one["name"]: one["role"] for one in found["members"] if one["state"] in ("running", "streaming")}
        return {}

    def primary(self) -> Host | None:
        """The host whose Patroni says that it is the primary now."""
        for host in self.hosts:
            try:
                if requests.get(f"http://{host.address}:8008/primary", timeout=2).status_code == 200:
                    return host
            except requests.RequestException:
                continue
        return None

    def await_primary(self) -> Host:
        """A busy machine may have lost it for a moment."""

        def found() -> Host:
            host = self.primary()
            assert host, self._last_lines()
            return host

        return await_until(found, "120s")

    def await_whole(self) -> None:
        """Until there are a primary, a synchronous standby and another one."""

        def whole() -> None:
            roles = sorted(self.members().values())
            assert roles == ["leader", "replica", "sync_standby"], f"{self.members()}\n{self._last_lines()}"

        await_until(whole, "300s")

    def await_other_primary(self, before: Host) -> None:
        """For a minute. It does not come if no standby has every commit: then the old one must come back."""

        def other() -> None:
            assert self.primary() not in (None, before)

        try:
            await_until(other, "60s")
        except AssertionError:
            print("     no standby has every commit: the old primary must come back", flush=True)

    def kill_server(self, host: Host) -> None:
        """kill -9 of PostgreSQL's first process."""
        host.do("sh", "-c", "kill -9 $(head -1 /var/lib/postgresql/15/pbxhub/postmaster.pid)")

    def ask(self, statement: str) -> str:
        """As superuser, on the primary."""
        host = self.await_primary()
        return host.do("psql", "-h", "/var/run/postgresql", "-qtAc", statement, "postgres", user="postgres").strip()

    def configure(self, *settings: str) -> None:
        """As ALTER SYSTEM has them; of the primary alone."""
        for setting in settings:
            self.ask(f"ALTER SYSTEM SET {setting}")
        self.ask("SELECT pg_reload_conf()")

    def url(self) -> str:
        return url_of([(host.address, 5432) for host in self.hosts])

    def _last_lines(self) -> str:
        return "\n".join(program.last_lines(5) for host in self.hosts for program in host.programs.values())


def url_of(places: Sequence[tuple[str, int]]) -> str:
    """As docs/operations/high-availability.md has it."""
    hosts = ",".join(f"{host}:{port}" for host, port in places)
    return f"postgresql+psycopg://pbxhub:{PASSWORD}@{hosts}/pbxhub"


def _variables(file: str, host: Host) -> dict[str, str]:
    """A shipped file of variables, with the host's own name and address as its first line asks for."""
    found = {}
    for line in (SHIPPED / file).read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            own = value if name == "ETCD_INITIAL_CLUSTER" else value.replace(_FIRST[1], host.address)
            found[name] = host.name if own == _FIRST[0] else own
    return found
