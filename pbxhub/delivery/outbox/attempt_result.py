"""The outcome of an attempt as the worker hands it over, and what record made of it."""

from dataclasses import dataclass, replace
from datetime import datetime

from pbxhub.delivery.outbox.claimed import Claimed
from pbxhub.delivery.outbox.lost_attempts import MOST_LOST
from pbxhub.delivery.read_answer import Reading
from pbxhub.sending.exchange import Answer
from pbxhub.sending.outcomes import LOST, NOT_SENT_YET, OUTCOMES, TOKEN_EXPIRED
from pbxhub.webhooks.answer_verdict import GONE


@dataclass(frozen=True, slots=True)
class Finished:
    """One claimed delivery whose request has ended. headers: as they were sent, credentials blacked out."""

    claimed: Claimed
    answer: Answer
    headers: tuple[tuple[str, str], ...]
    finished_on: datetime


def given_up(claimed: Claimed, now: datetime) -> Finished:
    """A delivery that too many workers have lost. Recorded, it has failed, whatever its retry profile says."""
    sentence = f"{OUTCOMES[LOST].sentence} This happened {MOST_LOST} times in a row: the hub stops trying."
    return Finished(claimed, Answer(LOST, sentence), (), now)


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The new state of one delivery. due_at: the next attempt, if that is pending.

    owned: the worker still had the lease; otherwise only the attempt was completed.
    """

    finished: Finished
    reading: Reading
    state: str
    due_at: datetime
    owned: bool

    def emptied(self) -> "AttemptResult":
        """The same without what was sent and answered: the content of its delivery was removed meanwhile."""
        answer = replace(self.finished.answer, message="", headers=(), body=b"")
        finished = replace(self.finished, answer=answer, headers=())
        return replace(self, finished=finished, reading=replace(self.reading, sentence="", values={}))

    @property
    def was_sent(self) -> bool:
        """False: a secret could not be opened, or there is no token. No request was sent, so this counts as no try."""
        return self.reading.code not in NOT_SENT_YET

    @property
    def is_try(self) -> bool:
        """Whether it counts for the retry profile and for the order: not when only the token was too old."""
        return self.was_sent and self.reading.code != TOKEN_EXPIRED

    @property
    def is_gone(self) -> bool:
        """The receiver answered 410: it will accept no request at this address again."""
        return self.reading.code == GONE
