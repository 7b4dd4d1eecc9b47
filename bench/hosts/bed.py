"""Four hosts: PostgreSQL on three of them, the hub on the last two, so that one of them has both."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hosts.cluster import SHIPPED, PostgresCluster, url_of
from hosts.delaying_relay import DelayingRelay
from hosts.hub_on_hosts import HubOnHosts
from hosts.inbox import Inbox
from hosts.judge import Verdict, judge, recovery
from hosts.network import OUTSIDE, Host
from hosts.noting_hub import IN_MEMORY
from hosts.traffic import Traffic

HUB_COMMANDS = ("listen", "work")


@dataclass
class Bed:
    folder: Path
    chance: random.Random
    cluster: PostgresCluster
    hosts: list[Host]
    hub: HubOnHosts
    traffic: Traffic
    inbox: Inbox
    relay: DelayingRelay
    lossy: list[tuple[float, float]] = field(default_factory=list)
    """When a listener was away: what a PBX said in between nobody can have heard."""

    @property
    def hub_hosts(self) -> list[Host]:
        return [host for host in self.hosts if host in self.hub.commands]

    def start_on(self, host: Host) -> None:
        """Everything that the host runs, as at its boot."""
        if host in self.cluster.hosts:
            self.cluster.start_on(host)
        if host in self.hub.commands:
            start_haproxy(host)
            self.hub.start_on(host)

    def await_whole(self) -> None:
        self.cluster.await_whole()
        self.hub.await_fair_shares(len(self.hub_hosts), len(self.traffic.addresses))

    def verdict(self, seconds: float = 120.0) -> Verdict:
        """When nothing is missing any more, or nothing has come for so long."""
        promised = self._promised()

        def now() -> Verdict:
            return judge(self.traffic.played, self.hub.acknowledged(), tuple(self.inbox.arrivals), promised)

        count, since = 0, time.monotonic()
        while (found := now()).lost and time.monotonic() - since < seconds:
            if len(self.inbox.arrivals) > count:
                count, since = len(self.inbox.arrivals), time.monotonic()
            time.sleep(0.5)
        return found

    def recovery(self, fault: float) -> float:
        return recovery(self.traffic.played, tuple(self.inbox.arrivals), fault)

    def _promised(self) -> set[str]:
        """All stages of the calls during which each PBX had a listener that lived."""
        calls: dict[str, list[str]] = {}
        for moment in self.traffic.played:
            calls.setdefault(moment.partition(" ")[0], []).append(moment)
        return {moment for moments in calls.values() if self._was_heard(moments) for moment in moments}

    def _was_heard(self, moments: list[str]) -> bool:
        times = [self.traffic.played[moment] for moment in moments]
        return not any(min(times) < end and max(times) > begin for begin, end in self.lossy)


@contextmanager
def bed(folder: Path, chance: random.Random, pbxs: int, through: str = "url", bug: str = "") -> Iterator[Bed]:
    """through: how the hub finds the database: "url" names all of its hosts, "haproxy" is on each host of the hub,
    "relay" can delay. bug: see noting_hub.py."""
    folder.chmod(0o755)  # PostgreSQL has a user of its own
    hosts = [Host(f"db{number}", f"192.0.2.1{number}", folder / f"db{number}") for number in (1, 2, 3)]
    hosts.append(Host("app4", "192.0.2.14", folder / "app4"))
    for host in hosts:
        host.boot()
    try:
        cluster = PostgresCluster(hosts[:3])
        cluster.start()
        if bug == IN_MEMORY:
            cluster.configure("synchronous_commit = off", "wal_writer_delay = 10000")
        traffic, inbox = Traffic(OUTSIDE, pbxs, chance), Inbox(OUTSIDE)
        relay = DelayingRelay(OUTSIDE, [(host.address, 5432) for host in cluster.hosts])
        near = {"url": cluster.url(), "haproxy": url_of([("127.0.0.1", 5000)]), "relay": url_of(relay.places)}[through]
        urls = {host.name: near for host in hosts} | {"": cluster.url()}
        hub = HubOnHosts(folder, urls, dict.fromkeys(hosts[2:], HUB_COMMANDS), inbox.url, bug)
        one = Bed(folder, chance, cluster, hosts, hub, traffic, inbox, relay)
        for host in one.hub_hosts:
            start_haproxy(host)
            hub.start_on(host)
        hub.listen_to(traffic.addresses)
        one.await_whole()
        yield one
    finally:
        for host in hosts:
            host.power_off()


def start_haproxy(host: Host) -> None:
    host.run("haproxy", "/usr/sbin/haproxy", "-f", str(SHIPPED / "haproxy.cfg"), environ={})
