"""New deliveries go to the worker of the same process, or on PostgreSQL to the sender of `pbxhub listen`, in the
transaction that writes them.

Without a hand-off: 1. publish commits; 2. a worker wakes; 3. the worker claims and commits; 4. the request leaves.
With it, the claim is a part of step 1, and the requests leave right after its commit. It is the same claim
(outbox/claim.py), with its lock, limits, shares, order and leases, so the same holds when something fails:

* The process is killed or frozen after the commit: the lease ends, and another worker sends the request.
* The answer of the commit is lost: publish repeats and finds its stages written; the lease ends as above.
* The claim finds the lock taken, no room, a pause, or a clock that is behind: the workers are woken as ever.
* The claim fails: publish repeats without it, because no stage may be lost for it.

It saves a transaction and a commit before each request. tests/test_hand_over_new_deliveries.py
"""

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from pbxhub.delivery.outbox.claimed import Batch


class Sends(Protocol):
    """A worker. claim_new: in the transaction of others. send_new: after its commit; never raises."""

    def claim_new(self, session: Session) -> "Batch": ...
    def send_new(self, batch: "Batch") -> None: ...


class Handoff:
    """Between those who publish in a process and its worker, if it has one."""

    def __init__(self) -> None:
        self._worker: Sends | None = None

    def open(self, worker: Sends) -> None:
        self._worker = worker

    def close(self, worker: Sends) -> None:
        """Nothing more goes to this worker."""
        if self._worker is worker:
            self._worker = None

    def claim(self, session: Session, due: AbstractSet[UUID]) -> bool:
        """Claims what is due, in the transaction that has just written these deliveries. True: no other worker needs to
        be woken, because all of them will be sent from here."""
        worker = self._worker
        if worker is None or not due:
            return False
        batch = worker.claim_new(session)
        if batch.claimed or batch.given_up:
            event.listen(session, "after_commit", lambda _session: worker.send_new(batch), once=True)
        return not batch.more and due <= {one.id for one in batch.claimed}
