"""How far the hub goes: a simulation from measured unit costs, checked against measured points.

python bench/scale [points] [limits] [costs]

points  what docs/benchmarks.md measured, beside what the simulation says.
limits  the most that one process, one host and several hosts deliver, and how long a request takes then; docs/scale.md.
costs   measures the unit costs again, on this machine.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BENCH.parent), str(BENCH)]

from bench.scale.inputs import POINTS, POSTGRESQL, SQLITE, Point  # noqa: E402
from bench.scale.measure import measure  # noqa: E402
from bench.scale.model import Found, Setup, simulate  # noqa: E402

CLOSE = 0.20
NETWORK = 100e-6  # seconds to the database on another host, one way and back
DATABASE = 8  # cores


def simulated(point: Point) -> float:
    found = simulate(point.costs, point.setup)
    if point.unit == "/s":
        return found.recorded / found.ended
    if point.unit == "us":
        return found.hub_cpu / found.recorded * 1e6
    return found.quantile(0.5) * 1000


def points() -> None:
    print(f"{'':44} {'measured':>9} {'simulated':>9}")
    for point in POINTS:
        value = simulated(point)
        off = value / point.measured - 1
        mark = "" if abs(off) <= CLOSE else "   more than 20 %"
        print(f"{point.name:44} {point.measured:9,.5g} {value:9,.5g} {point.unit:2} {off:+5.0%}{mark}", flush=True)


def hosts(number: int, cores: int = DATABASE, choosing: int = 1) -> Setup:
    """That many hosts that listen and send, with two cores each, and the database on one of its own."""
    return Setup(
        hubs=number, cores=2, database_cores=cores, trip=NETWORK, handoff=True, choosing=choosing, receiver_here=False
    )


LIMITS = [
    ("SQLite, one process, 2 cores", SQLITE, Setup()),
    ("PostgreSQL, `run`, 2 cores with the server", POSTGRESQL, Setup(handoff=True)),
    *((f"{number} hosts of 2 cores, server of 8 cores", POSTGRESQL, hosts(number)) for number in (1, 2, 4, 8)),
    ("8 hosts, server of 32 cores", POSTGRESQL, hosts(8, 32)),
    ("8 hosts, server of 32 cores, choosing by 8 shards", POSTGRESQL, hosts(8, 32, 8)),
    ("16 hosts, server of 32 cores, choosing by 8 shards", POSTGRESQL, hosts(16, 32, 8)),
]


def limits() -> None:
    for name, costs, setup in LIMITS:
        most = simulate(costs, replace(setup, backlog=2500 * setup.hubs))
        rate = most.recorded / most.ended
        half = simulate(costs, replace(setup, rate=rate / 2, seconds=3.0))
        print(f"{name:52} {rate:7,.0f}/s   at half of it {_told(half)}", flush=True)


def _told(found: Found) -> str:
    return (
        f"p50 {found.quantile(0.5) * 1000:.0f} ms, p99 {found.quantile(0.99) * 1000:.0f} ms, CPU"
        f" {found.hub_cpu / found.recorded * 1e6:.0f} + {found.server_cpu / found.recorded * 1e6:.0f} us,"
        f" {found.transactions / found.recorded:.2f} transactions, {found.trips / found.recorded:.1f} round trips each"
    )


def costs() -> None:
    for kind in ("sqlite", "postgresql"):
        for step, cost in zip(("publish", "claim", "record"), measure(kind), strict=True):
            for size in ("few", "many", "cold"):
                spent = getattr(cost, size)
                print(
                    f"{kind:10} {step:8} {size:5} {spent.python * 1e6:6.0f} us in Python, {spent.native * 1e6:6.0f} in"
                    f" SQLite, {spent.server * 1e6:6.0f} of the server, {spent.wait * 1e6:5.0f} waiting,"
                    f" {spent.trips:3.0f} round trips"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["points", "limits"])
    for part in parser.parse_args().parts:
        {"points": points, "limits": limits, "costs": costs}[part]()


if __name__ == "__main__":
    main()
