"""New deliveries go to the worker of the same process, or on PostgreSQL to the sender of `pbxhub listen`, in the
transaction that writes them.

Without a hand-off: 1. publish commits; 2. a worker wakes; 3. the worker claims and commits; 4. the request leaves.
With it, the claim is a part of step 1 (outbox/claim_new.py), and the requests leave right after its commit. It has the
lock, limits and leases of any claim, so the same holds when something fails:

* The process is killed or frozen after the commit: the lease ends, and another worker sends the request.
* The answer of the commit is lost: publish repeats and finds its stages written; the lease ends as above.
* The claim finds the lock taken, no room, a pause, older deliveries of the webhook that are due, or a clock that is
  behind: the workers are woken as ever.
* The claim fails: publish repeats without it, because no stage may be lost for it.

It saves a transaction, a commit and an UPDATE before each request. tests/test_hand_over_new_deliveries.py
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import event
from sqlalchemy.orm import Session

from pbxhub.store.delivery_rows import NewDelivery

if TYPE_CHECKING:
    from pbxhub.delivery.outbox.claimed import Claimed


class Sends(Protocol):
    """A worker. claim_new: in the transaction of others. send_new: after its commit; never raises."""

    def claim_new(self, session: Session, new: Sequence[NewDelivery]) -> "Sequence[Claimed]": ...
    def send_new(self, claimed: "Sequence[Claimed]") -> None: ...


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

    def claim(self, session: Session, new: Sequence[NewDelivery]) -> "Sequence[Claimed]":
        """Claims what the worker can send at once of the deliveries that this transaction is about to insert. It is
        sent after the commit."""
        worker = self._worker
        claimed = worker.claim_new(session, new) if worker else ()
        if worker and claimed:
            event.listen(session, "after_commit", lambda _session: worker.send_new(claimed), once=True)
        return claimed
