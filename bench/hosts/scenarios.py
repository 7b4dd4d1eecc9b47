"""What is done to the hosts. Each scenario prints what it sees and answers whether nothing was lost or doubled."""

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from hosts.bed import Bed, bed
from hosts.network import Host

from pbxhub.testing.waiting import await_until

_SHORT, _LONG = 3.0, 8.0  # seconds of a call; a long one outlives a take-over


@dataclass(frozen=True, slots=True)
class Asked:
    folder: Path
    chance: random.Random
    rate: float
    faults: Sequence[str]
    failovers: int
    takeovers: int
    through: str


def failovers(asked: Asked) -> bool:
    """The primary loses its server, its power or its network, again and again, while calls come in."""
    with bed(asked.folder, asked.chance, 10, asked.through) as one:
        with one.traffic.calls(asked.rate, _SHORT):
            for number in range(asked.failovers):
                time.sleep(one.chance.uniform(2, 6))
                name = one.chance.choice(asked.faults)
                _strike(one, number + 1, name)
        verdict = one.verdict()
    print(verdict, flush=True)
    return verdict.is_sound


def _strike(one: Bed, number: int, name: str) -> None:
    one.await_whole()  # a busy machine may have had a failover of its own meanwhile
    primary = one.cluster.await_primary()
    begin = time.time()
    FAULTS[name](one, primary)
    led = time.time() - begin
    HEALS[name](one, primary)
    one.await_whole()
    whole = time.time()
    if primary in one.hub.commands and name != "server":
        one.lossy.append((begin, whole))
    time.sleep(3)
    print(f"{number:3}. {name:7} of {primary.name}: another primary after {led:4.1f} s, requests in time again after "
          f"{one.recovery(begin):4.1f} s, all hosts back after {whole - begin:4.1f} s, load {os.getloadavg()[0]:.0f}",
          flush=True)  # fmt: skip


def _kill_server(one: Bed, primary: Host) -> None:
    one.cluster.kill_server(primary)
    one.cluster.await_other_primary(primary)


def _power_off(one: Bed, primary: Host) -> None:
    primary.power_off()
    one.cluster.await_other_primary(primary)


def _cut(one: Bed, primary: Host) -> None:
    primary.cut()
    one.cluster.await_other_primary(primary)


def _boot(one: Bed, host: Host) -> None:
    host.boot()
    one.start_on(host)


FAULTS: Mapping[str, Callable[[Bed, Host], None]] = {"server": _kill_server, "power": _power_off, "cable": _cut}
HEALS: Mapping[str, Callable[[Bed, Host], None]] = {
    "server": lambda one, host: None, "power": _boot, "cable": lambda one, host: host.mend(),
}  # fmt: skip


def takeovers(asked: Asked) -> bool:
    """100 PBXs in two listeners; one host after the other loses its power or its network."""
    with bed(asked.folder, asked.chance, 100, asked.through) as one:
        with one.traffic.calls(asked.rate, _LONG):
            for number in range(asked.takeovers):
                time.sleep(one.chance.uniform(_LONG, _LONG + 3))
                _take_over(one, number + 1)
            time.sleep(_LONG)
        verdict = one.verdict()
    print(verdict, flush=True)
    return verdict.is_sound


def _take_over(one: Bed, number: int) -> None:
    victim = one.hosts[3]  # the one without a database
    name = one.chance.choice(["power", "cable"])
    [heir] = [host for host in one.hub_hosts if host is not victim]
    begin = time.time()
    (victim.power_off if name == "power" else victim.cut)()
    await_until(lambda: _has_all(one, heir), "60s")
    taken = time.time() - begin
    HEALS[name](one, victim)
    one.await_whole()
    one.lossy.append((begin, time.time()))  # the victim's share goes back to it: again nobody hears it for a moment
    print(
        f"{number:3}. {name} of {victim.name}: {heir.name} is logged in at all PBXs after {taken:.1f} s, "
        f"load {os.getloadavg()[0]:.0f}",
        flush=True,
    )


def _has_all(one: Bed, heir: Host) -> None:
    found = one.hub.shares()
    assert found.get(heir.name, 0) == len(one.traffic.addresses), found


def handovers(asked: Asked) -> bool:
    """10 PBXs in two listeners; one is stopped, as for an upgrade, and started again. How long each PBX is unheard."""
    stopped, started = list[float](), list[float]()
    with bed(asked.folder, asked.chance, 10, asked.through) as one:
        host = one.hosts[3]
        with one.traffic.calls(asked.rate, _LONG):
            for _ in range(asked.takeovers):
                time.sleep(one.chance.uniform(1, 3))
                begin = time.time()
                stopped += one.traffic.unheard(lambda: one.hub.stop(host, "listen"), 5)
                started += one.traffic.unheard(lambda: one.hub.start_on(host, "listen"), 5)
                one.await_whole()
                one.lossy.append((begin, time.time()))
        verdict = one.verdict()
    for what, gaps in (("stopped", stopped), ("started", started)):
        print(f"a listener is {what}: its PBXs are unheard for {min(gaps):.2f} s, median {median(gaps):.2f}, "
              f"at most {max(gaps):.2f} ({len(gaps)} of them), load {os.getloadavg()[0]:.0f}", flush=True)  # fmt: skip
    print(verdict, flush=True)
    return verdict.is_sound


def twins(asked: Asked) -> bool:
    """The judge must find planted bugs: one where no fault comes at all, one that only a lost host brings to light."""
    found = []
    for bug, fault in (("forgets", False), ("renames", True)):
        home = asked.folder / bug
        home.mkdir()
        with bed(home, asked.chance, 10, asked.through, bug) as one:
            with one.traffic.calls(asked.rate, _SHORT):
                time.sleep(10)
                if fault:
                    one.hosts[3].power_off()
                    one.lossy.append((time.time(), time.time() + 3600))
                    time.sleep(35)  # until what was in flight has been sent again
            verdict = one.verdict(10)
        found.append(bool(verdict.doubled if fault else verdict.lost))
        print(f"a hub that {bug}: {'found out' if found[-1] else 'NOT FOUND OUT'}. {verdict}", flush=True)
    return all(found)


def delays(asked: Asked) -> bool:
    """A longer line between the hub and its database, then a disk that takes its time to write."""
    with bed(asked.folder, asked.chance, 10, "relay") as one:
        for milliseconds in (0, 1, 10, 50):
            one.relay.delay = milliseconds / 2000
            _measure(one, asked.rate, f"{milliseconds} ms to the database and back")
        one.relay.delay = 0
        for milliseconds in (10, 100):
            for setting in (f"commit_delay = {milliseconds * 1000}", "commit_siblings = 0"):
                one.cluster.ask(f"ALTER SYSTEM SET {setting}")
            one.cluster.ask("SELECT pg_reload_conf()")
            _measure(one, asked.rate, f"each commit of the primary reaches its disk {milliseconds} ms later")
        verdict = one.verdict()
    print(verdict, flush=True)
    return verdict.is_sound


def _measure(one: Bed, rate: float, what: str) -> None:
    begin = time.time()
    with one.traffic.calls(rate, _SHORT):
        time.sleep(20)
    one.verdict()
    first: dict[str, float] = {}
    for arrival in one.inbox.arrivals:
        first.setdefault(arrival.moment, arrival.at)
    taken = sorted((at - one.traffic.played[moment]) * 1000 for moment, at in first.items()
                   if one.traffic.played[moment] > begin)  # fmt: skip
    half, most = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
    print(f"{what}: p50 {half:.0f} ms, p99 {most:.0f} ms ({len(taken)} requests)", flush=True)


SCENARIOS: Mapping[str, Callable[[Asked], bool]] = {
    "failovers": failovers, "takeovers": takeovers, "handovers": handovers, "twins": twins, "delays": delays,
}  # fmt: skip
