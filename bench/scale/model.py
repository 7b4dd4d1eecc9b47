"""A simulation of hubs, their database and receivers, event by event, from the unit costs of its steps.

It follows the hub's code: the publisher takes what waits, up to 200 calls at a time (ami/publisher.py); a worker
records what has ended and claims up to 100 in each round (delivery/worker.py); one process chooses at a time
(outbox/claim.py); SQLite has one writer; Python runs one thread of a process at a time. Nothing is random but the
arrivals of calls, which a seed decides. Times in seconds.
"""

import random
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

from bench.scale.unit_costs import Costs, Spent

GROUP, BATCH, GATHER, TRY_AGAIN = 200, 100, 0.002, 0.005  # of publisher, claim and worker; see there
AT_ONCE = 8  # requests begun or ended at each hold of Python's lock: the one input that was chosen, not measured
SLICE = 0.001  # of a core, after which another thread has its turn
SWITCH = 0.005  # sys.getswitchinterval()
Steps = Generator[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated.

    hubs: processes that publish and send, each on a host with `cores`. database_cores: of the database's own host; 0 if
    all share one host. trip: seconds on the network for each round trip to the database. answer: seconds until a
    receiver answers. choosing: locks under which is claimed, shared among the processes. receiver_here: whether the
    receiver takes its time from the hub's host, as in the benchmarks.
    """

    rate: float = 0.0  # deliveries a second; 0: `backlog` calls are there at the beginning
    seconds: float = 4.0
    backlog: int = 0  # calls
    published: bool = False  # the backlog is in the database already
    webhooks: int = 4  # deliveries of each call
    hubs: int = 1
    cores: int = 2
    database_cores: int = 0
    trip: float = 0.0
    answer: float = 0.0
    capacity: int = 1000
    handoff: bool = False
    choosing: int = 1
    receiver_here: bool = True
    seed: int = 1


@dataclass(slots=True)
class Found:
    """sent: how long after its event each request arrived. ended: when the last was recorded. CPU in seconds."""

    sent: list[float] = field(default_factory=list)
    recorded: int = 0
    ended: float = 0.0
    hub_cpu: float = 0.0
    server_cpu: float = 0.0
    transactions: int = 0
    trips: float = 0.0

    def quantile(self, share: float) -> float:
        ordered = sorted(self.sent)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Host:
    """Cores that threads take in slices, first come first served."""

    def __init__(self, env: simpy.Environment, cores: int) -> None:
        self.env = env
        self.cores = simpy.Resource(env, cores)

    def burn(self, seconds: float) -> Steps:
        while seconds > 1e-9:
            part = min(seconds, SLICE)
            with self.cores.request() as core:
                yield core
                yield self.env.timeout(part)
            seconds -= part


class Database:
    """What is in the database and due, its locks and its cores."""

    def __init__(self, env: simpy.Environment, setup: Setup, costs: Costs, host: Host) -> None:
        self.env, self.costs, self.host = env, costs, host
        self.due: deque[float] = deque()  # the times of their events
        self.writer = simpy.Resource(env, 1) if costs.kind == "sqlite" else None
        self.choosing = [simpy.Resource(env, 1) for _ in range(setup.choosing)]
        self.workers: list[Process] = []

    def ring(self) -> None:
        for worker in self.workers:
            worker.wake()


class Process:
    """A process of the hub: its publisher, its worker and its sender share one Python."""

    def __init__(
        self, env: simpy.Environment, setup: Setup, database: Database, host: Host, found: Found, number: int
    ) -> None:
        self.number = number
        self.env, self.setup, self.database, self.host, self.found = env, setup, database, host, found
        self.costs = database.costs
        self.python = simpy.Resource(env, 1)
        self.calls: deque[float] = deque()
        self.came = env.event()
        self.finished: deque[float] = deque()
        self.woken, self.news = False, env.event()
        self.outgoing: deque[tuple[float, bool]] = deque()
        self.sendable = env.event()
        self.flying = 0
        self.last = dict.fromkeys(("publish", "claim", "record"), -1.0)
        self.spent = 0.0

    def report(self, at: float) -> None:
        self.calls.append(at)
        if not self.came.triggered:
            self.came.succeed()

    def wake(self, woken: bool = True) -> None:
        self.woken = self.woken or woken
        if not self.news.triggered:
            self.news.succeed()

    def run_python(self, seconds: float) -> Steps:
        self.spent += seconds
        while seconds > 1e-9:
            part = min(seconds, SWITCH)
            contended = self.python.count > 0
            with self.python.request() as turn:
                yield turn
                if contended:  # the thread that waited has to wake first
                    yield self.env.timeout(self.costs.switch)
                yield from self.host.burn(part)
            seconds -= part

    def transact(self, spent: Spent, commit: bool = True) -> Steps:
        """One transaction, or a part of one, round trip by round trip."""
        trips = max(1, round(spent.trips) - (not commit))
        self.found.trips += trips
        for _ in range(trips):
            yield from self.run_python(spent.python / trips)
            if spent.native:
                self.spent += spent.native / trips
                yield from self.host.burn(spent.native / trips)
            if spent.server:
                yield self.env.timeout(self.setup.trip + 2 * self.costs.switch)
                self.found.server_cpu += spent.server / trips
                yield from self.database.host.burn(spent.server / trips)
        if commit:
            self.found.transactions += 1
            yield self.env.timeout(spent.wait)

    def cost(self, step: str, deliveries: float) -> Spent:
        idle = self.env.now - self.last[step]
        self.last[step] = self.env.now
        spent: Spent = getattr(self.costs, step).of(deliveries, idle)
        return spent

    def publisher(self) -> Steps:
        while True:
            while not self.calls:
                self.came = self.env.event()
                yield self.came
            group = [self.calls.popleft() for _ in range(min(GROUP, len(self.calls)))]
            new = [at for at in group for _ in range(self.setup.webhooks)]
            if self.database.writer:
                with self.database.writer.request() as lock:
                    yield lock
                    yield from self.transact(self.cost("publish", len(new)))
                self.database.due.extend(new)
            else:
                handed = yield from self._publish(new)
                yield from self._start(handed)
            if self.database.due:
                self.database.ring()

    def _publish(self, new: list[float]) -> Steps:
        """With a hand-off, the claim is a part of the same transaction."""
        lock = self.database.choosing[self.number % self.setup.choosing]
        room = min(BATCH, self.setup.capacity - self.flying)
        if not self.setup.handoff or room < 1:
            yield from self.transact(self.cost("publish", len(new)))
            self.database.due.extend(new)
            return []
        yield from self.transact(self.cost("publish", len(new)), commit=False)
        if lock.count:
            yield self.env.timeout(self.costs.publish.few.wait)
            self.database.due.extend(new)
            return []
        with lock.request() as ours:
            yield ours
            self.database.due.extend(new)
            taken = self._take(room)
            self.flying += len(taken)
            yield from self.transact(self.cost("claim", len(taken)))
        return taken

    def _take(self, room: int) -> list[float]:
        return [self.database.due.popleft() for _ in range(min(room, len(self.database.due)))]

    def worker(self) -> Steps:
        turned_at, more = -1.0, True
        while True:
            if not self.finished and not self.woken and not (more and self._room()):
                self.news = self.env.event()
                yield self.news
            if (early := turned_at + GATHER - self.env.now) > 0:
                yield self.env.timeout(early)
            ended, asked = len(self.finished), self.woken or more or not self.finished
            self.finished.clear()
            self.woken = False if asked else self.woken
            taken: list[float] = []
            if self.database.writer:
                with self.database.writer.request() as lock:
                    yield lock
                    if ended:
                        yield from self.transact(self.cost("record", ended), commit=not asked)
                    if asked:
                        taken = self._take(self._room())
                        yield from self.transact(self.cost("claim", max(1, len(taken))))
            else:
                if ended:
                    yield from self.transact(self.cost("record", ended))
                if asked:
                    taken, again = yield from self._claim()
                    if again:
                        self.env.process(self._wake_later())
            self.found.recorded += ended
            self.found.ended = self.env.now if ended else self.found.ended
            turned_at, more = self.env.now, bool(self.database.due)
            self.flying += len(taken)
            yield from self._start(taken)

    def _claim(self) -> Steps:
        lock = self.database.choosing[self.number % self.setup.choosing]
        if lock.count:
            return [], True
        with lock.request() as ours:
            yield ours
            taken = self._take(self._room())
            yield from self.transact(self.cost("claim", max(1, len(taken))))
        return taken, False

    def _wake_later(self) -> Steps:
        yield self.env.timeout(TRY_AGAIN)
        self.wake()

    def _room(self) -> int:
        return min(BATCH, self.setup.capacity - self.flying)

    def _start(self, taken: list[float]) -> Steps:
        for first in range(0, len(taken), AT_ONCE):
            some = taken[first : first + AT_ONCE]
            yield from self.run_python(self.costs.prepare * len(some))
            self.outgoing.extend((at, False) for at in some)
            self._send()

    def _send(self) -> None:
        if self.outgoing and not self.sendable.triggered:
            self.sendable.succeed()

    def sender(self) -> Steps:
        """Half of what a request costs at its beginning, half at its end; all that is there at once."""
        while True:
            if not self.outgoing:
                self.sendable = self.env.event()
                yield self.sendable
            tasks = [self.outgoing.popleft() for _ in range(min(AT_ONCE, len(self.outgoing)))]
            yield from self.run_python(self.costs.send / 2 * len(tasks))
            for at, is_over in tasks:
                if is_over:
                    self.flying -= 1
                    self.finished.append(at)
                    self.wake(woken=False)
                else:
                    self.env.process(self._answered(at))

    def _answered(self, at: float) -> Steps:
        yield self.env.timeout(self.costs.way)
        if self.setup.receiver_here:
            yield from self.receiving.burn(self.costs.receive)
        self.found.sent.append(self.env.now - at)
        yield self.env.timeout(self.setup.answer + self.costs.way)
        self.outgoing.append((at, True))
        self._send()

    receiving: Host


def simulate(costs: Costs, setup: Setup) -> Found:
    """Plays `seconds` of calls, or a backlog, until everything is recorded."""
    env, found, chance = simpy.Environment(), Found(), random.Random(setup.seed)
    hosts = [Host(env, setup.cores) for _ in range(setup.hubs)] if setup.database_cores else []
    shared = Host(env, setup.cores)
    database = Database(env, setup, costs, Host(env, setup.database_cores) if setup.database_cores else shared)
    processes = []
    for number in range(setup.hubs):
        process = Process(env, setup, database, hosts[number] if hosts else shared, found, number)
        process.receiving = process.host if setup.receiver_here else Host(env, 64)
        processes.append(process)
        database.workers.append(process)
        env.process(process.publisher())
        env.process(process.worker())
        env.process(process.sender())
    number = int(setup.rate * setup.seconds / setup.webhooks) or setup.backlog
    if setup.published:
        database.due.extend([0.0] * number * setup.webhooks)
    else:
        env.process(_play(env, setup, processes, number, chance))
    while found.recorded < number * setup.webhooks and env.peek() < float("inf"):
        env.step()
    found.hub_cpu = sum(process.spent for process in processes)
    return found


def _play(env: simpy.Environment, setup: Setup, hubs: list[Process], number: int, chance: random.Random) -> Steps:
    for call in range(number):
        if setup.rate:
            at = (call + chance.random()) * setup.webhooks / setup.rate
            yield env.timeout(max(0.0, at - env.now))
        hubs[call % len(hubs)].report(env.now)
