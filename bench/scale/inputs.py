"""The measured inputs of the simulation and the measured points that it is checked against: docs/benchmarks.md.

Both were measured in one sitting, on a quiet machine with 2 cores, when the worker claimed what publish had committed
(there was no hand-off yet). Microseconds of CPU of the hub for each delivery; where a step has a range there, from the
machine's best to its worst, the inputs lie where the range meets the CPU of a whole delivery, 388 and 608 µs. The
shares of SQLite and of PostgreSQL's server were measured later, by measure.py: as ratios, they need no quiet machine.
"""

from dataclasses import dataclass, replace

from bench.scale.model import Setup
from bench.scale.unit_costs import MANY, WEBHOOKS, Cost, Costs, Spent

EVICTED = 1.25  # threads of one process on two cores evict each other's caches; pinned to one core it is a fifth less
SWITCH = 57e-6  # until a thread that was waited for runs: half of a round trip of 0.6 ms without the CPU in it
ROWS = 20_000  # deliveries in the table, beside which a claim of 100 takes CLAIM_BESIDE instead of CLAIM_EMPTY
CLAIM_EMPTY, CLAIM_BESIDE = 29.1e-3, 39.2e-3  # on PostgreSQL, the server's work in it; later claims do not grow


@dataclass(frozen=True, slots=True)
class Step:
    """few, many: of one call, and in full batches. native, server: as multiples of `few` and `many`. cold: of one call
    after a pause, compared with a loop."""

    few: float
    many: float
    native: float = 0.0
    server: float = 0.0
    server_many: float = 0.0
    wait: float = 300e-6
    trips: float = 8
    cold: float = 2.08

    def cost(self) -> Cost:
        few = self._spent(self.few * EVICTED, WEBHOOKS, self.server)
        many = self._spent(self.many * EVICTED, MANY * WEBHOOKS, self.server_many)
        return Cost(few, many, self._spent(self.few * self.cold, WEBHOOKS, self.server))

    def _spent(self, each: float, number: int, server: float) -> Spent:
        cpu = each * number * 1e-6
        return Spent(cpu * (1 - self.native), cpu * self.native, cpu * server, self.wait, self.trips)


def _costs(kind: str, publish: Step, claim: Step, record: Step, prepare: float) -> Costs:
    return Costs(
        kind, publish.cost(), claim.cost(), record.cost(), prepare * EVICTED * 1e-6, 106e-6 * EVICTED, 40e-6, 200e-6,
        SWITCH,
    )  # fmt: skip


SQLITE = _costs(
    "sqlite", Step(363, 81, native=0.35, trips=15), Step(245, 53, native=0.28), Step(224, 62, native=0.32), 7.5
)
_PUBLISH = Step(1000, 118, server=0.55, server_many=0.79, wait=500e-6, trips=13, cold=1.4)
_CLAIM = Step(765, 117, server=0.57, server_many=0.84, wait=500e-6, trips=7, cold=1.4)
_RECORD = Step(744, 145, server=0.49, server_many=0.79, wait=500e-6, trips=8, cold=1.4)
POSTGRESQL = _costs("postgresql", _PUBLISH, _CLAIM, _RECORD, 10)


def postgresql_then(rows: int) -> Costs:
    """As the points were measured: a claim of 100 took the server longer, and longer still beside delivered rows."""
    whole = CLAIM_EMPTY + (CLAIM_BESIDE - CLAIM_EMPTY) * rows / ROWS
    python = 101e-6 * MANY * WEBHOOKS
    server = (whole - python - _CLAIM.trips * 2 * SWITCH - _CLAIM.wait) / python
    return replace(POSTGRESQL, claim=replace(_CLAIM, server_many=server).cost())


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured. unit: /s, ms (the median from event to request), or us (the hub's CPU of a delivery)."""

    name: str
    costs: Costs
    setup: Setup
    measured: float
    unit: str


_FAST, _SLOW = Setup(backlog=2500), Setup(backlog=2500, answer=0.2)
_THEN, _QUEUE = postgresql_then(15_000), postgresql_then(8_000)
POINTS = (
    Point("SQLite, one process, fast receiver", SQLITE, _FAST, 2975, "/s"),
    Point("SQLite, CPU of a delivery", SQLITE, _FAST, 388, "us"),
    Point("SQLite, receiver that takes 200 ms", SQLITE, _SLOW, 2146, "/s"),
    Point("SQLite, event to request at 40/s", SQLITE, Setup(rate=40), 6.2, "ms"),
    Point("SQLite, event to request at 400/s", SQLITE, Setup(rate=400), 4.7, "ms"),
    Point("SQLite, event to request at 1,488/s", SQLITE, Setup(rate=1488), 21.7, "ms"),
    Point("PostgreSQL, one process, fast receiver", _THEN, _FAST, 1034, "/s"),
    Point("PostgreSQL, CPU of a delivery", _THEN, _FAST, 608, "us"),
    Point("PostgreSQL, receiver that takes 200 ms", _THEN, _SLOW, 1149, "/s"),
    Point("PostgreSQL, event to request at 40/s", _THEN, Setup(rate=40), 20.0, "ms"),
    Point("PostgreSQL, event to request at 400/s", _THEN, Setup(rate=400), 56.7, "ms"),
    Point("PostgreSQL, event to request at 517/s", _THEN, Setup(rate=517), 58.4, "ms"),
    *(
        Point(f"PostgreSQL, full queue, {number} workers", _QUEUE, Setup(backlog=2000, published=True, hubs=number),
              measured, "/s")
        for number, measured in ((1, 1030), (2, 1740), (4, 1657))
    ),
)  # fmt: skip
