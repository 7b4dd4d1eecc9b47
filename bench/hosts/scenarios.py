"""What is done to the hosts. Each scenario prints what it sees and answers whether nothing was lost or doubled."""

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from hosts.bed import Bed, bed
from hosts.inbox import ANSWER_AFTER
from hosts.network import Host
from hosts.noting_hub import FORGETS, IN_MEMORY, LEAVES_ALONE, RENAMES

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
    """Each protection is switched off, or a bug planted, and the judge must find it: a test that cannot fail proves
    nothing. What is struck, and which verdict it must bring about, is in TWINS."""
    found = [_find(asked, asked.folder / str(number), *twin) for number, twin in enumerate(TWINS)]
    return all(found)


def _find(asked: Asked, home: Path, bug: str, through: str, wrong: str, strikes: Sequence[str]) -> bool:
    home.mkdir()
    found = 0
    with bed(home, asked.chance, 10, through, bug) as one:
        for strike in strikes:
            STRIKES[strike](one, asked.rate)
            before, verdict = found, one.verdict(10)
            found = len(getattr(verdict, wrong))
            print(f"a hub that {bug}, {strike}: {'found out' if found > before else 'NOT FOUND OUT'}. {verdict}, "
                  f"load {os.getloadavg()[0]:.0f}", flush=True)  # fmt: skip
            if found == before:
                return False
    return True


def _only_play(one: Bed, rate: float) -> None:
    with one.traffic.calls(rate, _SHORT):
        time.sleep(10)


def _strike_app4(one: Bed, rate: float, strike: Callable[[Host], None], heal: Callable[[Host], None]) -> None:
    """What is in flight then is sent again 30 s later, and the calls that begin after 20 s have a listener again."""
    with one.traffic.calls(rate, _SHORT):
        time.sleep(5)
        begin = time.time()
        strike(one.hosts[3])
        one.lossy.append((begin, begin + 20))  # of a busy machine
        time.sleep(35)
    heal(one.hosts[3])


def _kill_server_with_a_backlog(one: Bed, rate: float) -> None:
    """The primary dies while acknowledged stages wait for busy receivers."""
    one.inbox.answer_after = 5.0
    with one.traffic.calls(rate, _SHORT):
        time.sleep(6)
        _kill_server(one, one.cluster.await_primary())
        one.inbox.answer_after = ANSWER_AFTER
    one.await_whole()


def _far_and_slow(one: Bed, rate: float) -> None:
    one.relay.delay = 0.005
    _write_slowly(one, 10)
    _only_play(one, rate)


STRIKES: Mapping[str, Callable[[Bed, float], None]] = {
    "nothing happens": _only_play,
    "10 ms to the database and 10 ms to its disk": _far_and_slow,
    "a host loses its cable": lambda one, rate: _strike_app4(one, rate, Host.cut, Host.mend),
    "a host loses its power": lambda one, rate: _strike_app4(one, rate, Host.power_off, lambda host: None),
    "the primary is killed": _kill_server_with_a_backlog,
}
TWINS = (
    (FORGETS, "relay", "lost", ("nothing happens", "10 ms to the database and 10 ms to its disk")),
    (RENAMES, "url", "doubled", ("a host loses its cable", "a host loses its power")),
    (LEAVES_ALONE, "url", "lost", ("a host loses its cable", "a host loses its power")),
    (IN_MEMORY, "url", "lost", ("the primary is killed",)),
)


def delays(asked: Asked) -> bool:
    """A longer line between the hub and its database, then a disk that takes its time to write."""
    with bed(asked.folder, asked.chance, 10, "relay") as one:
        for milliseconds in (0, 1, 10, 50):
            one.relay.delay = milliseconds / 2000
            _measure(one, asked.rate, f"{milliseconds} ms to the database and back")
        one.relay.delay = 0
        for milliseconds in (10, 100):
            _write_slowly(one, milliseconds)
            _measure(one, asked.rate, f"each commit of the primary reaches its disk {milliseconds} ms later")
        verdict = one.verdict()
    print(verdict, flush=True)
    return verdict.is_sound


def _write_slowly(one: Bed, milliseconds: int) -> None:
    one.cluster.configure(f"commit_delay = {milliseconds * 1000}", "commit_siblings = 0")


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
