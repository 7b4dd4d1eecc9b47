"""What waited in a database when it was backed up, and may have been sent since: a person decides about it."""

from datetime import datetime

from sqlalchemy import literal_column, select, true, update
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox.lost_attempts import end_lost
from pbxhub.delivery.outbox.put_back import put_back
from pbxhub.sending.outcomes import OUTCOMES, RESTORED
from pbxhub.store.delivery_rows import FAILED, Delivery
from pbxhub.store.resends import RUNNING, STOPPED, Resend

_QUIETLY = {"synchronize_session": False}


def fail_restored(session: Session, now: datetime) -> int:
    """Call it once after a restore, before any worker runs. Returns how many deliveries stand on the error check.

    Between the backup and the restore the hub went on: what was pending in the backup may have reached the receiver.
    It is not sent by itself again; Send on the error check does it, with the same webhook-id. Resends are stopped, and
    what they had put into the queue is what it was before.
    """
    session.execute(update(Resend).where(Resend.state == RUNNING).values(state=STOPPED), execution_options=_QUIETLY)
    session.execute(update(Delivery).where(_IS_PENDING).values(claim_token=None), execution_options=_QUIETLY)
    end_lost(session, select(Delivery.id).where(_IS_PENDING), now)
    put_back(session, true(), now)
    waiting = update(Delivery).where(_IS_PENDING).values(
        state=FAILED, held=False, outcome=RESTORED, message=OUTCOMES[RESTORED].sentence, finished_on=now
    )  # fmt: skip
    return session.execute(waiting, execution_options=_QUIETLY).rowcount  # type: ignore[attr-defined,no-any-return]


_IS_PENDING = Delivery.state == literal_column("'pending'")  # spelled out, so that the partial index serves it
