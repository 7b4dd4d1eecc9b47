"""Claims, sends, records, over and over: one loop per process, any number of processes."""

import threading
import time
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.metrics import WorkerMetrics
from pbxhub.delivery.outbox import Batch, Claimed, Finished, claim, record
from pbxhub.delivery.outbox.attempt_result import given_up
from pbxhub.delivery.outbox.claim import LEASE
from pbxhub.delivery.outbox.lost_attempts import give_back
from pbxhub.delivery.prepare import OtherHostError, Prepared, prepare
from pbxhub.delivery.wakeup import WakeupListener
from pbxhub.sending.engine import Engine
from pbxhub.sending.exchange import Answer
from pbxhub.sending.outcomes import UNREADABLE, describe
from pbxhub.store.delivery_rows import PENDING
from pbxhub.store.session import reason
from pbxhub.vault import VaultError

BATCH = 100
GATHER = 0.002  # seconds from the end of a turn to the next: a turn costs some ms, one delivery more in it 0.1
LOOK_AGAIN = 2.0  # seconds without any ring: what another host's clock or a lost connection may have hidden
DATABASE_AWAY = 0.5  # seconds between two tries
AWAY = (OperationalError, InterfaceError, PoolTimeoutError)  # not there, full, read-only, or locked for long
GOODBYE = 8.0  # seconds that what is in flight may take after stop()

log = structlog.get_logger(__name__)


class Worker:
    """start() and stop() from any thread. Whatever happens to it, a delivery is sent again by whoever is left."""

    def __init__(
        self, context: DeliveryContext, engine: "Engine[tuple[Claimed, Prepared]]", *,
        capacity: int = 64, lease: timedelta = LEASE, metrics: WorkerMetrics | None = None,
    ) -> None:  # fmt: skip
        """engine: the worker starts, wakes and closes it. capacity: requests in flight at once in this process; with
        several projects one may have half of them, so that one whose receivers all hang leaves room for the others.

        lease: how long beyond its deadline a request belongs to this worker before another one may send it.
        """
        self._context = context
        self._database = context.database
        self._clock = context.clock
        self._engine = engine
        self._capacity = capacity
        self._lease = lease
        self._metrics = metrics or WorkerMetrics()
        self._wakeup_listener = WakeupListener(context.database, context.wakeups, self._ring)
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._flying: dict[tuple[UUID, int], Claimed] = {}  # by attempt: after a jump of the clock there may be two
        self._finished: list[Finished] = []
        self._turned_at = 0.0  # monotonic
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        self._wakeup_listener.start()
        self._thread.start()

    def stop(self) -> None:
        """Claims nothing more, waits GOODBYE seconds for what is in flight, records it and gives the rest back."""
        self._stopping.set()
        self._ring()
        self._thread.join()
        self._wakeup_listener.stop()

    @property
    def in_flight(self) -> int:
        return len(self._flying)

    def _ring(self) -> None:
        self._bell.set()
        self._engine.wake()

    def _run(self) -> None:
        batch = Batch((), None, True)
        while not self._stopping.is_set():
            try:
                self._collect(self._patience(batch))
                self._gather()
                batch = self._turn(batch)
            except AWAY as error:
                log.warning("database away; workers wait", error=reason(error))
                self._bell.set()
                self._stopping.wait(DATABASE_AWAY)
            except Exception:
                log.exception("a turn failed", deliveries=[str(one.claimed.id) for one in self._finished])
                self._record_one_by_one()
                self._bell.set()
                self._stopping.wait(DATABASE_AWAY)
        self._say_goodbye()

    def _record_one_by_one(self) -> None:
        """One answer that cannot be recorded must not hold up the others. Its lease runs out: it counts as lost."""
        for one in list(self._finished):
            try:
                with self._database.write() as session:
                    record(self._context, session, [one], self._clock())
            except AWAY:
                return
            except Exception:
                log.exception("an attempt could not be recorded", delivery=str(one.claimed.id))
            self._finished.remove(one)

    def _patience(self, batch: Batch) -> float:
        """Seconds the loop may sleep without missing anything: until a request ends, a ring or a due time."""
        if self._bell.is_set() or (batch.claimed and batch.more and self._room() > 0):
            return 0.0
        if batch.next_due is None:
            return LOOK_AGAIN
        return min(max(0.0, (batch.next_due - self._clock()).total_seconds()), LOOK_AGAIN)

    def _room(self) -> int:
        return min(BATCH, self._capacity - len(self._flying))

    def _collect(self, wait: float) -> None:
        """Fetches what has ended; it is kept until a transaction with it has been committed."""
        finished = self._engine.finished(wait)
        now = self._clock()
        for (claimed, prepared), answer in finished:
            self._keep(claimed, prepared.shown, prepared.clean(answer), now)

    def _gather(self) -> None:
        """Right after a turn, lets some more end and become due, so that all of it costs one turn."""
        too_early = self._turned_at + GATHER - time.monotonic()
        if too_early > 0:
            time.sleep(too_early)
            self._collect(0.0)

    def _keep(self, claimed: Claimed, shown: tuple[tuple[str, str], ...], answer: Answer, now: datetime) -> None:
        del self._flying[claimed.id, claimed.attempt]
        self._metrics.ended(claimed, answer)
        self._finished.append(Finished(claimed, answer, shown, now))

    def _turn(self, before: Batch) -> Batch:
        """Records what has ended and claims what is due: one commit on SQLite, where only one writes anyway; two on
        PostgreSQL, where recording need not wait until another process has chosen."""
        asked = self._is_something_due(before)
        if asked:  # otherwise a ring that comes just now is for the next turn
            self._bell.clear()
        batch = Batch((), before.next_due, False)
        if self._database.is_sqlite:
            with self._database.write() as session:
                if self._record(session) or asked:
                    batch = self._claim(session)
        else:
            if self._finished:
                with self._database.write() as session:
                    asked = self._record(session) or asked
            if asked:
                with self._database.write() as session:
                    batch = self._claim(session)
        self._finished.clear()
        self._turned_at = time.monotonic()
        for claimed in batch.claimed:
            self._send(claimed)
        for claimed in batch.given_up:
            lost = given_up(claimed, self._clock())
            self._metrics.ended(claimed, lost.answer)
            self._finished.append(lost)
            self._ring()
        return batch

    def _is_something_due(self, batch: Batch) -> bool:
        """Whether a claim may find something; not when the loop has woken only because requests have ended."""
        if not self._finished or self._bell.is_set() or batch.more:
            return True
        return batch.next_due is not None and batch.next_due <= self._clock()

    def _record(self, session: Session) -> bool:
        """True: something will be tried again, and only a claim tells when."""
        results = record(self._context, session, self._finished, self._clock())
        return any(result.state == PENDING for result in results)

    def _claim(self, session: Session) -> Batch:
        return claim(self._context, session, self._room(), self._clock(), self._rooms(), self._lease)

    def _rooms(self) -> dict[int, int]:
        """How many more of each project this process may send now; a project that is not there: any number."""
        if not self._context.webhook_cache.has_several:
            return {}
        most = max(1, self._capacity // 2)
        flying = Counter(claimed.project_id for claimed in self._flying.values())
        return defaultdict(lambda: most, {project_id: most - number for project_id, number in flying.items()})

    def _send(self, claimed: Claimed) -> None:
        self._flying[claimed.id, claimed.attempt] = claimed
        try:
            prepared = prepare(self._context.vault, claimed, self._clock())
        except OtherHostError as error:
            self._give_up(claimed, f"Not sent: {error}.")
        except VaultError:  # the start has checked the key: only this webhook's secret was sealed with another one
            self._keep(claimed, (), Answer(UNREADABLE, describe(UNREADABLE).sentence), self._clock())
            self._ring()
        except Exception:  # damaged keys of one webhook must not take the rest of the batch with them
            log.exception("a request could not be prepared", delivery=str(claimed.id), webhook=claimed.webhook.id)
            self._give_up(claimed, f"{describe('render_error').sentence} The log of the hub says more.")
        else:
            self._engine.start(prepared.outgoing, (claimed, prepared))

    def _give_up(self, claimed: Claimed, sentence: str) -> None:
        self._keep(claimed, (), Answer("render_error", sentence), self._clock())
        self._ring()

    def _say_goodbye(self) -> None:
        deadline = time.monotonic() + GOODBYE
        while self._flying and (left := deadline - time.monotonic()) > 0:
            self._collect(left)
        for (claimed, prepared), answer in self._engine.close():
            self._keep(claimed, prepared.shown, prepared.clean(answer), self._clock())
        try:
            with self._database.write() as session:
                self._record(session)
                give_back(self._context, session, self._flying.values(), self._clock())
        except AWAY as error:
            log.error("database away; what was sent last will be sent again", error=reason(error))
        except Exception:
            log.exception("the last attempts could not be recorded together")
            self._record_one_by_one()
