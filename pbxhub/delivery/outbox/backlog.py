"""How much waits to be sent: for the metrics and the start page."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from pbxhub.store.columns import UtcDateTime


@dataclass(frozen=True, slots=True)
class Waiting:
    """Of one lane. due: should be sent now. in_flight: claimed. later: for their time, for the stage before or for
    the resuming of their webhook. oldest_due: since when the longest of the due ones waits."""

    due: int
    in_flight: int
    later: int
    oldest_due: datetime | None


_QUERY = (
    text("""
    SELECT d.lane,
           sum(CASE WHEN w.paused_on IS NULL AND d.due_at <= :now THEN 1 ELSE 0 END) AS due,
           sum(CASE WHEN d.claim_token IS NOT NULL AND d.due_at > :now THEN 1 ELSE 0 END) AS in_flight,
           sum(CASE WHEN w.paused_on IS NOT NULL OR (d.claim_token IS NULL AND d.due_at > :now) THEN 1 ELSE 0 END)
               AS later,
           min(CASE WHEN w.paused_on IS NULL AND d.due_at <= :now THEN d.due_at END) AS oldest_due
      FROM delivery d JOIN webhook w ON w.id = d.webhook_id
     WHERE d.state = 'pending' GROUP BY d.lane""")
    .bindparams(bindparam("now", type_=UtcDateTime()))
    .columns(oldest_due=UtcDateTime())
)


def waiting(session: Session, now: datetime) -> dict[int, Waiting]:
    """What waits in each lane (1 first attempts, 2 retries, 3 bulk resend), over all projects."""
    rows = {row.lane: row for row in session.execute(_QUERY, {"now": now})}
    return {
        lane: Waiting(row.due, row.in_flight, row.later, row.oldest_due) if (row := rows.get(lane)) else _NOTHING
        for lane in (1, 2, 3)
    }


_NOTHING = Waiting(0, 0, 0, None)
