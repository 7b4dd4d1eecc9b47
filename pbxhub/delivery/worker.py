"""The worker's loop: claim, send, record. One loop in each process, and any number of processes."""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.metrics import WorkerMetrics
from pbxhub.delivery.open_recordings import Fetch, Opened, OpenRecording, look_for, wanted
from pbxhub.delivery.out_of_reach import OutOfReach
from pbxhub.delivery.outbox import Batch, Claimed, Finished, claim, claim_new, record
from pbxhub.delivery.outbox.attempt_result import given_up
from pbxhub.delivery.outbox.lost_attempts import LEASE, release_leases
from pbxhub.delivery.prepare import Prepared, prepare
from pbxhub.delivery.ready_to_send import Ready, ready_to_send
from pbxhub.delivery.wakeup import LOOK_AGAIN, WakeupListener
from pbxhub.sending.engine import Engine
from pbxhub.sending.exchange import Answer
from pbxhub.sending.outcomes import BLOCKED_TARGET, FILE_NOT_READY, describe
from pbxhub.store.database_errors import reason
from pbxhub.store.delivery_rows import PENDING, NewDelivery

if TYPE_CHECKING:  # needs an extra that not every hub has
    from pbxhub.delivery.traces import Traces

BATCH = 100
MOST_HANDED = 0.75  # of the places: beyond that, a claim decides who has the next one that becomes free
GATHER = 0.002  # seconds between turns: a turn costs some ms, and 0.1 ms for each delivery in it
GATHER_MORE = 0.01  # the same while only answers wait, to be recorded
_HANGS = 60.0  # seconds without a turn: the database is away, or the worker is stuck
DATABASE_AWAY = 0.5  # seconds between two tries
AWAY = (OperationalError, InterfaceError, PoolTimeoutError)  # not reachable, full, read-only, or locked for long
PREPARE_AT_ONCE = 2  # requests with a recording: reading and hashing it is work for the processor
STOP_WAIT = 8.0  # seconds that requests in flight may take after stop()

log = structlog.get_logger(__name__)


class Worker:
    """start() and stop() may be called from any thread. If the process is killed, another worker sends its deliveries
    again (outbox/lost_attempts.py).

    One turn: 1. what has ended is fetched from the engine and kept; 2. one transaction records it and claims more; 3.
    after its commit, and not before, the kept results are dropped and the claimed requests are sent. A turn that fails
    is repeated with the same results. tests/test_survive_a_full_database.py
    """

    def __init__(
        self, context: DeliveryContext, engine: "Engine[tuple[Claimed, Prepared | Fetch]]", *,
        capacity: int = 64, lease: timedelta = LEASE, metrics: WorkerMetrics | None = None,
        traces: "Traces | None" = None, claims: bool = True,
    ) -> None:  # fmt: skip
        """engine: the worker starts, wakes and closes it. capacity: requests in
        flight at once in this process. With several projects, one of them gets half at most: if all its receivers hang,
        the others still have places.

        lease: how long after the deadline of a request its delivery stays with this worker. claims: False for the
        sender of `pbxhub listen`: it sends what is handed to it, and leaves all that is tried again to other workers.
        """
        self._context = context
        self._database = context.database
        self._clock = context.clock
        self._engine = engine
        self._capacity = capacity
        self._lease = lease
        self._claims = claims
        self._metrics = metrics or WorkerMetrics()
        self._traces = traces
        self._wakeup_listener = WakeupListener(context.database, context.wakeups, self._wake)
        self._woken = threading.Event()
        self._stopping = threading.Event()
        # by attempt: after a jump of the clock there may be two of one delivery
        self._flying: dict[tuple[UUID, int], Claimed] = {}
        self._finished: list[Finished] = []
        self._handed = deque[Claimed]()  # claimed by other threads, which could not send them
        self._ready = deque[tuple[Claimed, Ready]]()  # with a recording, prepared by other threads
        self._preparing = ThreadPoolExecutor(PREPARE_AT_ONCE, "recordings")
        self._out_of_reach = OutOfReach()  # only without claims
        self._lost = deque[Claimed]()  # given up in a claim, to be recorded
        self._turned_at = 0.0  # monotonic
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        if self._claims:
            self._wakeup_listener.start()
        self._thread.start()
        self._context.handoff.open(self)

    def stop(self) -> None:
        """Claims nothing more, waits STOP_WAIT seconds for requests in flight, records them, gives the rest back."""
        self._context.handoff.close(self)
        self._stopping.set()
        self._wake()
        self._thread.join()
        if self._claims:
            self._wakeup_listener.stop()

    def works(self) -> bool:
        """Whether the worker claims and records: it takes a turn every LOOK_AGAIN seconds at least."""
        return time.monotonic() - self._turned_at < _HANGS

    def claim_new(self, session: Session, new: Sequence[NewDelivery]) -> Sequence[Claimed]:
        """A claim in the transaction of another thread, which is about to insert these deliveries (handoff.py).

        It leaves some places free, of the process and of each project: those for which the claims of the worker's own
        thread choose fairly.
        """
        room = min(BATCH, int(self._capacity * MOST_HANDED) - len(self._flying))
        if self._stopping.is_set() or room < 1:
            return ()
        return claim_new(
            self._context, session, new, room, self._clock(), self._rooms(MOST_HANDED), self._lease,
            self._out_of_reach.webhooks(),
        )  # fmt: skip

    def send_new(self, new: Sequence[Claimed]) -> None:
        """Sends what claim_new has claimed, from that other thread: it need not wait until this one has recorded."""
        for claimed in new:
            self._flying[claimed.id, claimed.attempt] = claimed
            if claimed.request.recording:  # it has to be opened first
                self._handed.append(claimed)
                continue
            try:
                prepared = prepare(self._context.vault, claimed, self._clock())
                self._engine.start(prepared.outgoing, (claimed, prepared))
            except Exception:  # noqa: BLE001 (the worker's own thread meets it again and logs it)
                self._handed.append(claimed)
        if self._handed:
            self._wake()

    @property
    def in_flight(self) -> int:
        return len(self._flying)

    def _wake(self) -> None:
        self._woken.set()
        self._engine.wake()

    def _run(self) -> None:
        batch = Batch((), None, True)
        while not self._stopping.is_set():
            batch = self._go_round(batch)
        self._finish()

    def _go_round(self, batch: Batch) -> Batch:
        """One round of the loop. batch: what the last claim found; returns what this one has found."""
        try:
            self._collect(self._patience(batch))
            self._gather(batch)
            return self._turn(batch)
        except AWAY as error:
            log.warning("database unavailable; trying again", error=reason(error))
        except Exception:
            log.exception(
                "unexpected error in the worker; trying again",
                deliveries=[str(one.claimed.id) for one in self._finished],
            )
            self._record_one_by_one()
        self._woken.set()
        self._stopping.wait(DATABASE_AWAY)
        return batch

    def _record_one_by_one(self) -> None:
        """One answer that cannot be recorded must not block the others. Its lease ends, and it counts as lost."""
        self._out_of_reach.forget()
        for one in list(self._finished):
            try:
                with self._database.write() as session:
                    record(self._context, session, [one], self._clock())
            except AWAY:
                return
            except Exception:
                log.exception("attempt could not be recorded; it will be sent again", delivery=str(one.claimed.id))
            self._finished.remove(one)

    def _patience(self, batch: Batch) -> float:
        """Seconds until the next due time; a request that ends or a wakeup interrupts the wait."""
        if self._woken.is_set() or (batch.claimed and batch.more and self._room() > 0):
            return 0.0
        if batch.next_due is None:
            return LOOK_AGAIN
        return min(max(0.0, (batch.next_due - self._clock()).total_seconds()), LOOK_AGAIN)

    def _room(self) -> int:
        return min(BATCH, self._capacity - len(self._flying))

    def _collect(self, wait: float) -> None:
        """Fetches what has ended, and keeps it until a transaction with it is committed."""
        finished = self._engine.finished(wait)
        now = self._clock()
        for (claimed, sent), answer in finished:
            if isinstance(sent, Fetch):
                self._send_with(claimed, sent.end(answer))
            else:
                self._ended(claimed, sent, answer, now)
        while self._ready:
            self._send_ready(*self._ready.popleft())
        while self._handed:
            self._send(self._handed.popleft())
        while self._lost:
            lost = given_up(self._lost.popleft(), now)
            self._metrics.ended(lost.claimed, lost.answer)
            self._finished.append(lost)

    def _gather(self, batch: Batch) -> None:
        """Waits a little after a turn, so that several endings share the cost of the next one; longer while all that is
        sent was handed over, and no other webhook may wait for these answers."""
        too_early = self._turned_at + GATHER - time.monotonic()
        if too_early > 0:
            time.sleep(too_early)
            self._collect(0.0)
        while not self._is_pressed(batch) and (left := self._turned_at + GATHER_MORE - time.monotonic()) > 0:
            self._woken.wait(left)
            self._collect(0.0)

    def _is_pressed(self, batch: Batch) -> bool:
        """Whether something may be due, or waits for what has ended. What the last claim found had waited: more of its
        call, or of its webhook, may wait behind it."""
        return (
            self._woken.is_set()
            or bool(batch.claimed)
            or self._is_something_due(batch)
            or any(one.claimed.webhook.leads_on for one in self._finished)
        )

    def _ended(self, claimed: Claimed, sent: Prepared, answer: Answer, now: datetime) -> None:
        sent.close()
        if answer.outcome == BLOCKED_TARGET and not self._claims:
            self._leave(claimed)
            return
        self._keep(claimed, sent.shown, sent.clean(answer), now)

    def _leave(self, claimed: Claimed) -> None:
        """To the workers, which may reach more (out_of_reach.py)."""
        del self._flying[claimed.id, claimed.attempt]
        self._out_of_reach.add(claimed)

    def _keep(self, claimed: Claimed, shown: tuple[tuple[str, str], ...], answer: Answer, now: datetime) -> None:
        del self._flying[claimed.id, claimed.attempt]
        self._metrics.ended(claimed, answer)
        if self._traces:
            self._traces.attempt(claimed, answer, now)
        self._finished.append(Finished(claimed, answer, shown, now))

    def _turn(self, before: Batch) -> Batch:
        """Records what has ended and claims what is due. On SQLite in one transaction, because only one can write at a
        time. On PostgreSQL in two: recording must not wait until another process has chosen (claim.py)."""
        asked = self._is_something_due(before)
        if asked or not self._claims:  # a wakeup that comes from now on is for the next turn
            self._woken.clear()
        self._out_of_reach.leave(self._context)
        batch = Batch((), before.next_due, False)
        if self._database.is_sqlite:
            with self._database.write() as session:
                if self._record(session) or asked:
                    batch = self._claim(session)
        else:
            if self._finished:
                with self._database.write() as session:
                    asked = self._record(session) or asked
            if asked and self._claims:
                with self._database.write() as session:
                    batch = self._claim(session)
        self._finished.clear()
        self._turned_at = time.monotonic()
        for claimed in batch.claimed:
            self._send(claimed)
        self._lost.extend(batch.given_up)
        if self._lost:
            self._wake()
        return batch

    def _is_something_due(self, batch: Batch) -> bool:
        """Whether a claim may find something: not if the loop woke up only because requests have ended."""
        if not self._claims:
            return False
        if not self._finished or self._woken.is_set() or batch.more:
            return True
        return batch.next_due is not None and batch.next_due <= self._clock()

    def _record(self, session: Session) -> bool:
        """True: something will be tried again, and a claim is needed to know when."""
        results = record(self._context, session, self._finished, self._clock())
        again = any(result.state == PENDING for result in results)
        if again and not self._claims:  # somebody else must learn when it is due
            self._context.wakeups.send(session)
        return again

    def _claim(self, session: Session) -> Batch:
        return claim(
            self._context, session, self._room(), self._clock(), self._rooms(), self._lease,
            without=self._out_of_reach.webhooks(),
        )  # fmt: skip

    def _rooms(self, share: float = 1.0) -> dict[int, int]:
        """How many more requests of each project this process may send now, of that share of its places. A missing
        project has no limit."""
        if not self._context.webhook_cache.has_several:
            return {}
        most = max(1, int(self._capacity // 2 * share))
        flying = Counter(claimed.project_id for claimed in list(self._flying.values()))
        return defaultdict(lambda: most, {project_id: most - number for project_id, number in flying.items()})

    def _send(self, claimed: Claimed) -> None:
        self._flying[claimed.id, claimed.attempt] = claimed
        if claimed.request.recording:
            self._open(claimed)
        else:
            self._start(claimed, None)

    def _open(self, claimed: Claimed) -> None:
        """Opens the recording of a request. One that the PBX serves is fetched first; _collect goes on with it."""
        now, common = self._clock(), self._context.links.common_folder
        try:
            with self._database.read() as session:
                want = wanted(
                    session, claimed.project_id, claimed.call_id, claimed.request.recording, claimed.created_on, now,
                    claimed.webhook.networks, self._context.largest_file, common,
                )  # fmt: skip
        except AWAY as error:
            log.warning("database unavailable; a recording is opened later", error=reason(error))
            self._send_with(claimed, Answer(FILE_NOT_READY, describe(FILE_NOT_READY).sentence))
            return
        found = look_for(want, now)
        if isinstance(found, Fetch):
            self._engine.start(found.outgoing, (claimed, found))
        else:
            self._send_with(claimed, found)

    def _send_with(self, claimed: Claimed, found: Opened) -> None:
        if isinstance(found, Answer) and not self._claims:
            self._leave(claimed)
            self._wake()
        elif isinstance(found, Answer):
            self._keep(claimed, (), found, self._clock())
            self._wake()
        else:
            self._start(claimed, found)

    def _start(self, claimed: Claimed, recording: OpenRecording | None) -> None:
        """A signature reads the whole recording, which takes a second for 100 MB: others must not wait for it."""
        if recording is None:
            self._send_ready(claimed, ready_to_send(self._context.vault, claimed, self._clock()))
        else:
            self._preparing.submit(self._prepare_aside, claimed, recording)

    def _prepare_aside(self, claimed: Claimed, recording: OpenRecording) -> None:
        """Runs on a thread of its own; _collect goes on with it."""
        ready = ready_to_send(self._context.vault, claimed, self._clock(), recording)
        self._ready.append((claimed, ready))
        self._engine.wake()

    def _send_ready(self, claimed: Claimed, ready: Ready) -> None:
        if isinstance(ready, Answer):
            self._keep(claimed, (), ready, self._clock())
            self._wake()
        else:
            self._engine.start(ready.outgoing, (claimed, ready))

    def _finish(self) -> None:
        deadline = time.monotonic() + STOP_WAIT
        while self._flying and (left := deadline - time.monotonic()) > 0:
            self._collect(left)
        self._preparing.shutdown(wait=False, cancel_futures=True)
        for (claimed, sent), answer in self._engine.close():
            if isinstance(sent, Prepared):
                self._ended(claimed, sent, answer, self._clock())
        try:
            self._out_of_reach.leave(self._context)
            with self._database.write() as session:
                self._record(session)
                release_leases(self._context, session, list(self._flying.values()), self._clock())
        except AWAY as error:
            log.error(
                "database unavailable; the last requests cannot be recorded and will be sent again", error=reason(error)
            )
        except Exception:
            log.exception("the last attempts could not be recorded together; recording them one by one")
            self._record_one_by_one()
