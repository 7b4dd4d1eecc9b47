"""What a worker process does besides sending: bulk resends, notices, watching PBXs, orders, tokens, retention."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pbxhub.delivery.caller_persons import fill_persons
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.due_work import DueWork
from pbxhub.delivery.outbox import step_resends
from pbxhub.delivery.outbox.lost_attempts import WrongLeases
from pbxhub.delivery.outbox.ordered_call_status import sweep
from pbxhub.delivery.outbox.queue_pause_status import end_stale
from pbxhub.delivery.outbox.wait_for_answer import release_all
from pbxhub.delivery.pbx_notices import PbxWatch
from pbxhub.delivery.prune import Retention, prune
from pbxhub.delivery.renewals import RenewalMetrics, renew_due
from pbxhub.delivery.wakeup import ChangeWatch
from pbxhub.notices.send_notices import send_due
from pbxhub.sending.sender import Sender
from pbxhub.settings import MailServer
from pbxhub.store.database_errors import reason

TURN = 1.0  # seconds from one turn of a job that has work to the next; also until the first one, and after an outage
REST = 2.0  # the same of a job that had none: one statement says so for all of them (due_work.py)
GUARD_EVERY = timedelta(seconds=4)
PRUNE_EVERY = timedelta(hours=1)
SWEEP_EVERY = timedelta(seconds=30)
WATCH_EVERY = timedelta(seconds=5)
HANGS = 600.0  # seconds beyond its time without a finished turn, after which a job does not work: pruning takes minutes
RELEASE_EVERY = timedelta(seconds=5)
log = structlog.get_logger(__name__)


class BackgroundJobs:
    """Runs each job in a thread of its own, so that no job waits for another. Several processes may run them."""

    def __init__(
        self, context: DeliveryContext, sender: Sender, keep: Retention,
        mail: MailServer | None = None, renew_guard: Callable[[], None] | None = None,
        metrics: RenewalMetrics | None = None,
    ) -> None:  # fmt: skip
        """renew_guard: updates the address guard; called when PBXs have changed, and every 15 s because of the DNS."""
        self._context = context
        self._sender = sender
        self._mail = mail
        self._keep = keep
        self._metrics = metrics or RenewalMetrics()
        self._renew_guard = renew_guard or (lambda: None)
        self._wrong_leases = WrongLeases()
        self._pbx_watch = PbxWatch(context.database)
        self._guarded = ChangeWatch(context.database, context.wakeups)
        self._stopping = threading.Event()
        self._due = DueWork(context)
        turn = timedelta(seconds=TURN)
        jobs = {
            "guard": (self._guard, GUARD_EVERY), "resends": (self._resend, turn), "notices": (self._tell, turn),
            "pbx-watch": (self._pbx_watch.look, WATCH_EVERY), "left-behind": (self._sweep, SWEEP_EVERY),
            "retention": (self._prune, PRUNE_EVERY), "persons": (self._name_persons, turn),
            "tokens": (self._renew_tokens, turn), "answers": (self._release, RELEASE_EVERY),
        }  # fmt: skip
        self._hangs_at = dict.fromkeys(jobs, time.monotonic() + HANGS)  # when each no longer works
        self._threads = [
            threading.Thread(target=self._run, args=(name, job, every.total_seconds()), name=name, daemon=True)
            for name, (job, every) in jobs.items()
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Waits two seconds at most. An interrupted job is repeated by another process or after the next start."""
        self._stopping.set()
        ends = time.monotonic() + 2.0
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
        self._due.close()
        self._guarded.close()

    def works(self) -> dict[str, bool]:
        """Each job with whether it does its work."""
        return {name: time.monotonic() < ends for name, ends in self._hangs_at.items()}

    def _run(self, name: str, job: Callable[[datetime], None], every: float) -> None:
        """every: seconds between two turns, by a clock that nobody sets."""
        pause = TURN
        while not self._stopping.wait(pause):
            pause = every
            try:
                now = self._context.clock()
                if self._due.is_due(name, now):
                    job(now)
                else:
                    pause = REST
                self._hangs_at[name] = time.monotonic() + pause + HANGS
            except (DBAPIError, PoolTimeoutError) as error:
                pause = TURN
                log.warning("database unavailable; background jobs wait", job=name, error=reason(error))
            except Exception:  # a bug must not end the thread
                log.exception("a background job failed; it is repeated", job=name)

    def _guard(self, _now: datetime) -> None:
        self._guarded.read(self._renew_guard)

    def _resend(self, now: datetime) -> None:
        step_resends(self._context, now)

    def _tell(self, now: datetime) -> None:
        send_due(self._context.database, self._sender, self._mail, now)

    def _sweep(self, now: datetime) -> None:
        """What a process that died, or a clock that was wrong, has left behind."""
        with self._context.database.write() as session:
            sweep(self._context, session, now)
            end_stale(session, now)
        with self._context.database.write() as session:
            self._wrong_leases.end(session, now, time.monotonic())

    def _renew_tokens(self, now: datetime) -> None:
        renew_due(self._context, self._sender, now, self._metrics)

    def _release(self, now: datetime) -> None:
        release_all(self._context, now)

    def _name_persons(self, _now: datetime) -> None:
        fill_persons(self._context.database)

    def _prune(self, now: datetime) -> None:
        prune(self._context.database, now, self._keep)
