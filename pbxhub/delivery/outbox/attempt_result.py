"""What a worker hands back of a claimed delivery, and what became of it."""

from dataclasses import dataclass
from datetime import datetime

from pbxhub.delivery.outbox.claimed import Claimed
from pbxhub.delivery.outbox.lost_attempts import MOST_LOST
from pbxhub.delivery.read_answer import Reading
from pbxhub.sending.exchange import Answer
from pbxhub.sending.outcomes import LOST, OUTCOMES, UNREADABLE
from pbxhub.webhooks.success import GONE


@dataclass(frozen=True, slots=True)
class Finished:
    """One claimed delivery whose request has come to an end. headers: as they left, credentials blacked out."""

    claimed: Claimed
    answer: Answer
    headers: tuple[tuple[str, str], ...]
    finished_on: datetime


def given_up(claimed: Claimed, now: datetime) -> Finished:
    """One that too many workers have lost: recorded, it has failed like any other, whatever its retries."""
    sentence = f"{OUTCOMES[LOST].sentence} That was time {MOST_LOST} in a row: it is not sent again by itself."
    return Finished(claimed, Answer(LOST, sentence), (), now)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one delivery: its new state, and when it is tried again if that is pending.

    owned: the lease was still this worker's; otherwise only the attempt was completed.
    """

    finished: Finished
    reading: Reading
    state: str
    due_at: datetime
    owned: bool

    @property
    def was_sent(self) -> bool:
        """False: a secret could not be opened, so nobody was asked, and it counts as no try."""
        return self.reading.code != UNREADABLE

    @property
    def is_gone(self) -> bool:
        """The receiver answered 410: it will never take this webhook again."""
        return self.reading.code == GONE
