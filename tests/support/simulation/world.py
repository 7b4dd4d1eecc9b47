"""One run: an account, a PBX and a few processes, and the steps that may be taken with them."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from pbxhub.ami.channel_list import ChannelList, ReceivedEvent
from pbxhub.delivery.outbox import Claimed, pause, resume
from pbxhub.delivery.outbox.lost_attempts import LONGEST_LEASE
from pbxhub.sending.exchange import Outgoing
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import Retry, WebhookSpec
from tests.support import outbox_world
from tests.support.simulation.network import Receivers, name_of
from tests.support.simulation.phone_calls import PlayedPbx
from tests.support.simulation.process import Process, Seat
from tests.support.simulation.rules import BrokenRuleError, Rules
from tests.support.simulation.snapshot import Snapshot, Watcher
from tests.support.simulation.stubs import stubbed

BEGAN = 1_900_000_000.0  # the true clock, in seconds since 1970, when a run begins
FAULTS = 0.12  # how often something goes wrong in a step with the database
MOST_CALLS = 8
PEOPLE = 3  # the seat of those who change settings
_APART = 10.0  # seconds that clocks may differ without an effect: half of what a lease has to spare
_TICK = 1e-6  # seconds that pass whenever a clock is read
_QUICK = 5.0  # seconds for which a process may not be looked at
STAGES = ("incoming.before", "incoming.forward", "incoming.pickup", "incoming.after", "outgoing.before")
CHAINED = "chained"


class World:
    """close() it. Every step is checked; BrokenRuleError says what is wrong. seats: one for each process, and one for
    people."""

    def __init__(self, seed: str, seats: Sequence[Seat], folder: Path) -> None:
        self.time, self.chance = BEGAN, Random(seed)
        self._errors: list[str] = []
        self._open = ExitStack()
        self._open.enter_context(stubbed(lambda: self.time, self._errors, seed))
        self._folder, self._seats = folder, seats
        self.pbx = PlayedPbx()
        self._account(self.chance)
        self.rules = Rules(self._specs, self.receivers, self.pbx)
        self.watcher = Watcher(Path(str(seats[0].database.engine.url.database)))
        self._open.callback(self.watcher.close)
        self.seen = self.watcher.read() if self.watcher.has_changed() else Snapshot()
        self.offsets = [0.0] * self.chance.choice((1, 2, 2, 3))
        self.jumps = self.chance.random() < 0.3  # whether clocks do
        self.processes: list[Process | None] = [None for _ in self.offsets]
        for number, _ in enumerate(self.offsets):
            self.begin(number)
        self.connect()

    def _account(self, chance: Random) -> None:
        account = outbox_world.World(self._seats[PEOPLE].database)
        self.pbx_id = account.pbx_id
        self._specs: dict[int, WebhookSpec] = {}
        stages: dict[int, str] = {}
        for stage in STAGES:
            retry = Retry(chance.choice(("none", "fast", "minutes", "fast")))
            follows = CHAINED if stage == "incoming.pickup" else ""
            spec = outbox_world.spec(retry=retry, in_flight=chance.choice((1, 2, 8)), on_success=follows)
            webhook_id = account.webhook(stage, spec)
            self._specs[webhook_id], stages[webhook_id] = spec, stage
        spec = outbox_world.spec(retry=Retry("fast"))
        self._specs[account.webhook("chain", spec, name=CHAINED)] = spec
        self.receivers = Receivers({one: chance.choice((0.0, 0.1, 0.6)) for one in self._specs}, stages)

    # --- who is there

    def alive(self, awake: bool = True) -> list[Process]:
        return [one for one in self.processes if one and not (awake and one.frozen)]

    def begin(self, number: int) -> None:
        """A process starts; the first one listens."""
        process = Process(self._seats[number], self._folder, self._tick, self._leaves, self.chance.random() < 0.5)
        process.offset = self.offsets[number]
        self.processes[number] = process
        if number == 0:
            self.listen(process)

    def listen(self, process: Process) -> None:
        def begin() -> None:
            process.listen(self.pbx_id)

        self.step_of(process, begin)

    def step_of(self, process: Process, step: Callable[[], None], faults: float = 0.0) -> None:
        """Does it with whatever goes wrong, and checks what is committed then."""
        process.faults.plan(self.chance, faults)
        if not process.survives(step):
            self.bury(process)
        process.faults.spare()
        self.look(process)

    def bury(self, process: Process) -> None:
        self.excuse(process)
        number = self.processes.index(process)
        if number == 0:
            self.pbx.is_missed()
            self._miss_unwritten(process)
        process.close()
        self.processes[number] = None

    def _miss_unwritten(self, process: Process) -> None:
        """What only a dead listener knew."""
        for call in self.pbx.calls:
            stages = [row[1:] for row in self.seen.stages if self.pbx.number_of(row.linkedid) == call.number]
            if stages != self.pbx.expected[call.number]:
                call.heard_whole = False

    def excuse(self, *processes: Process) -> None:
        """What they have in flight may be lost."""
        for process in processes:
            self.rules.excused |= {name_of(claimed) for claimed in process.worker._flying.values()}
            self.rules.excused |= {name_of(one.claimed) for one in process.worker._finished}

    def _leaves(self, process: Process, claimed: Claimed, outgoing: Outgoing) -> None:
        headers = dict(outgoing.request.headers)
        is_written = self.watcher.has_attempt(name_of(claimed))
        self.rules.leaves(name_of(claimed), headers.get("webhook-id", ""), outgoing.request.body, is_written)

    def _tick(self) -> float:
        self.time += _TICK
        return self.time

    # --- what is checked

    def look(self, by: Process | None = None) -> None:
        if self._errors:
            raise BrokenRuleError(f"the log says: {self._errors[0]}")
        if self.watcher.has_changed():
            before, self.seen = self.seen, self.watcher.read()
            self._excuse_unheard(by, before)
            if max(self.offsets) - min(self.offsets) > _APART:
                self.excuse_all()
            self.rules.check(before, self.seen)

    def excuse_all(self) -> None:
        """Clocks differ: what one has leased may be over for another."""
        self.rules.excused |= {name for name, row in self.seen.attempts.items() if row.finished_on is None}

    def _excuse_unheard(self, by: Process | None, before: Snapshot) -> None:
        """Claims of which no living worker knows: it died, or the answer of the commit was lost."""
        known = {name_of(one) for process in self.alive(awake=False) for one in process.worker._flying.values()}
        if by is None or by.faults.happened:
            self.rules.excused |= self.seen.attempts.keys() - before.attempts.keys() - known

    # --- time

    def pass_time(self, seconds: float) -> None:
        """Whoever is awake goes on meanwhile: requests end by their deadlines, and what has ended is recorded."""
        while seconds > 0:
            part = seconds if all(process.wire.is_quiet for process in self.alive()) else min(seconds, _QUICK)
            self.time += part
            seconds -= part
            for process in self.alive():
                self.let_leave(process)
                process.wire.time_out()
                if not process.wire.is_quiet or part >= 1:
                    self.step_of(process, process.round)

    def let_leave(self, process: Process) -> None:
        while process.wire.waiting:
            process.wire.leave(0, self.receivers, self.chance)

    def sweep(self, faults: float = 0.0) -> None:
        for process in self.alive():
            self.step_of(process, process.sweep, faults)

    # --- what the PBX does

    def play(self) -> None:
        """The next event of its calls; those who are connected hear it."""
        call = self.pbx.next_call()
        if call is None or (len(self.pbx.calls) < MOST_CALLS and self.chance.random() < 0.15):
            if len(self.pbx.calls) < MOST_CALLS:
                self.pbx.begin(self.chance, self.time)
            return
        self.pass_time(max(0.0, call.next_at - self.time))
        event = ReceivedEvent(call.next_event(), self.time)
        listener = self.processes[0]
        if listener and listener.connected:
            listener.inbox.append(event)
        else:
            call.heard_whole = False

    def connect(self) -> None:
        """The listener logs in, and hears which channels there are."""
        listener = self.processes[0]
        if listener and not listener.frozen and not listener.connected:
            if not listener.listens:
                self.listen(listener)
            now = datetime.fromtimestamp(self.time, UTC)
            listener.inbox.append(ChannelList(self.pbx.channels(), now, "22", None, False))
            listener.connected = True

    # --- what people do

    def set_pause(self, webhook_id: int, on: bool) -> None:
        process = next(iter(self.alive()), None)
        with self._seats[PEOPLE].database.write() as session:
            if not on and process:
                resume(process.context, session, webhook_id)
            elif on and not session.get_one(Webhook, webhook_id).paused_on:
                pause(session, webhook_id, "by hand", datetime.fromtimestamp(self.time, UTC))
        self.look()

    @property
    def webhook_ids(self) -> list[int]:
        return list(self._specs)

    # --- the end

    def settle(self) -> None:
        """Nothing goes wrong any more: everything must come to its end."""
        if self.jumps:
            self._claim_by_a_clock_ahead()
        self.excuse_all()
        self.receivers.well, self.offsets = True, [0.0] * len(self.offsets)
        for number, process in enumerate(self.processes):
            if process is None:
                self.begin(number)
            else:
                process.frozen, process.offset = False, 0.0
        self.sweep()
        self.pass_time(LONGEST_LEASE.total_seconds())
        self.sweep()
        self.rules.check_leases(self.seen, self.time)
        self.connect()
        while self.pbx.next_call():
            self.play()
            self._write_all()
        self.connect()
        for number in range(300):
            self._write_all()
            for webhook_id in [number for number, paused in self.seen.paused.items() if paused]:
                self.set_pause(webhook_id, False)  # by a late answer
            waiting = [row.due_at / 1e6 for row in self.seen.deliveries.values() if row.state in ("pending", "waiting")]
            listener = self.processes[0]
            if not waiting and not (listener and listener.unwritten):
                break
            next_due = min((due for due in waiting if due > self.time), default=self.time)
            self.pass_time(
                max(next_due - self.time, 1.03**number)
            )  # longer and longer: a clock may have been far ahead
        self._write_all()
        self.rules.check_end(self.seen, self.watcher.called, self.watcher.told)

    def _claim_by_a_clock_ahead(self) -> None:
        """It is set back when the requests are on their way, and those who send them are killed."""
        self.offsets = [3600.0] * len(self.offsets)
        self.excuse_all()
        for process in self.alive():
            process.offset = 3600.0
            self.step_of(process, process.round)
        for process in self.alive():
            self.bury(process)

    def _write_all(self) -> None:
        for process in self.alive():
            self.step_of(process, process.hear)
            self.step_of(process, process.write)
            self.step_of(process, process.round)

    def close(self) -> None:
        for process in self.alive(awake=False):
            process.close()
        self._seats[PEOPLE].database.close()
        self._open.close()
