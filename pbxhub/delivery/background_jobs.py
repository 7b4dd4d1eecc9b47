"""What a worker process does besides sending: bulk resends, notices, abandoned orders, tokens, retention of history."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox import Retention, prune, step_resends
from pbxhub.delivery.outbox.ordered_call_status import sweep
from pbxhub.delivery.persons import fill_persons
from pbxhub.delivery.renewals import RenewalMetrics, renew_due
from pbxhub.notices.send_notices import send_due
from pbxhub.sending.sender import Sender
from pbxhub.settings import MailServer
from pbxhub.store.database_errors import reason

TURN = 1.0  # seconds
PRUNE_EVERY = timedelta(hours=1)
SWEEP_EVERY = timedelta(seconds=30)
log = structlog.get_logger(__name__)


class BackgroundJobs:
    """Runs each job in a thread of its own, so that no job waits for another. Several processes may run them."""

    def __init__(
        self, context: DeliveryContext, sender: Sender,
        mail: MailServer | None = None, keep: Retention | None = None, renew_guard: Callable[[], None] | None = None,
        metrics: RenewalMetrics | None = None,
    ) -> None:  # fmt: skip
        """renew_guard: called every second; updates the address guard when PBXs or the DNS have changed."""
        self._context = context
        self._sender = sender
        self._mail = mail
        self._keep = keep
        self._metrics = metrics or RenewalMetrics()
        self._renew_guard = renew_guard or (lambda: None)
        self._pruned_on: datetime | None = None
        self._swept_on: datetime | None = None
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(job,), name=job.__name__.strip("_"), daemon=True)
            for job in (
                self._guard,
                self._resend,
                self._tell,
                self._sweep,
                self._prune,
                self._name_persons,
                self._renew_tokens,
            )
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

    def _run(self, job: Callable[[datetime], None]) -> None:
        while not self._stopping.wait(TURN):
            try:
                job(self._context.clock())
            except (DBAPIError, PoolTimeoutError) as error:
                log.warning("database away; background jobs wait", job=job.__name__, error=reason(error))
            except Exception:  # a bug must not end the thread
                log.exception("a background job failed; it is repeated", job=job.__name__)

    def _guard(self, _now: datetime) -> None:
        self._renew_guard()

    def _resend(self, now: datetime) -> None:
        with self._context.database.write() as session:
            step_resends(self._context, session, now)

    def _tell(self, now: datetime) -> None:
        send_due(self._context.database, self._sender, self._mail, now)

    def _sweep(self, now: datetime) -> None:
        if self._swept_on is None or now - self._swept_on >= SWEEP_EVERY:
            self._swept_on = now
            with self._context.database.write() as session:
                sweep(self._context, session, now)

    def _renew_tokens(self, now: datetime) -> None:
        renew_due(self._context, self._sender, now, self._metrics)

    def _name_persons(self, _now: datetime) -> None:
        fill_persons(self._context.database)

    def _prune(self, now: datetime) -> None:
        if self._pruned_on is None or now - self._pruned_on >= PRUNE_EVERY:
            self._pruned_on = now
            prune(self._context.database, now, self._keep)
