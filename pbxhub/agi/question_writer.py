"""Writes questions to the history on a separate thread, so that no caller waits for the database."""

import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.agi.ask_webhook import Asked
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox import Finished
from pbxhub.delivery.outbox.question import Step, link_question, record_question, record_steps
from pbxhub.delivery.read_answer import Reading
from pbxhub.sending.exchange import Answer
from pbxhub.store.history import Call

MOST_WAITING = 20_000
FOR_THE_CALL = 10.0  # seconds to wait until the listener has written the call; then the question is written without it
AT_THE_SAME_TIME = 5.0  # seconds that the transaction writing the call may take
LOOK_AGAIN = 0.25
TRY_FOR = 60.0  # seconds a question is kept in memory while the database is unavailable

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class QuestionToWrite:
    """One question. Written when it is answered, and updated when its actions have run."""

    pbx_id: int
    linkedid: str
    asked: Asked
    answer: Answer
    reading: Reading
    finished_on: datetime
    line: int
    steps: list[Step]
    written: bool = False
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class QuestionWithoutCall:
    """A question written without its call; the transaction of the call may have been open at that moment."""

    pbx_id: int
    linkedid: str
    since: float


class QuestionWriter:
    """Call put() from any thread. stop() writes what is queued."""

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context
        self._waiting: deque[QuestionToWrite | QuestionWithoutCall] = deque()
        self._news = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="questions", daemon=True)
        self._thread.start()

    def put(self, question: QuestionToWrite) -> None:
        """Queues an answered question, or queues it again when its actions have run."""
        if len(self._waiting) >= MOST_WAITING:
            log.error(
                "queue for the database is full; a question will be missing from the history", call=question.linkedid
            )
            return
        question.since = time.monotonic()
        self._waiting.append(question)
        self._news.set()

    def stop(self) -> None:
        self._stopping = True
        self._news.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not (self._stopping and not self._waiting):
            self._news.wait(LOOK_AGAIN if self._waiting else None)
            self._news.clear()
            left = [question for _ in range(len(self._waiting)) if not self._done(question := self._waiting.popleft())]
            self._waiting.extendleft(reversed(left))
            if self._stopping and left:
                break
            if left:
                time.sleep(LOOK_AGAIN / 5)

    def _done(self, question: QuestionToWrite | QuestionWithoutCall) -> bool:
        """Writes one. False when it has to be tried again."""
        try:
            return self._link(question) if isinstance(question, QuestionWithoutCall) else self._write(question)
        except SQLAlchemyError as error:
            log.warning("question cannot be written; trying again", call=question.linkedid, error=str(error)[:300])
            return time.monotonic() - question.since > TRY_FOR
        except Exception:
            log.exception("question could not be written; it will be missing from the history", call=question.linkedid)
            return True

    def _write(self, question: QuestionToWrite) -> bool:
        with self._context.database.write() as session:
            if question.written:
                record_steps(session, question.asked.claimed.id, question.line, question.steps)
                return True
            claimed = question.asked.claimed
            if claimed.call_id is None:
                known = (Call.pbx_id == question.pbx_id, Call.linkedid == question.linkedid)
                call_id = session.scalar(select(Call.id).where(*known))
                if call_id is None and not self._stopping and time.monotonic() - question.since < FOR_THE_CALL:
                    return False
                claimed = replace(claimed, call_id=call_id)
            shown = question.asked.prepared.shown if question.asked.prepared else ()
            finished = Finished(claimed, question.answer, shown, question.finished_on)
            record_question(
                self._context, session, finished, question.reading, question.line, question.steps,
                self._context.clock(), question.pbx_id, question.linkedid,
            )  # fmt: skip
        question.written = True
        if claimed.call_id is None and not self._stopping:
            self._waiting.append(QuestionWithoutCall(question.pbx_id, question.linkedid, time.monotonic()))
        return True

    def _link(self, question: QuestionWithoutCall) -> bool:
        """Links a question to its call.

        A call written later finds the question and links it. A call whose transaction began before the question was
        committed cannot see it, so this runs once that transaction must have ended.
        """
        if not self._stopping and time.monotonic() - question.since < AT_THE_SAME_TIME:
            return False
        with self._context.database.write() as session:
            link_question(session, question.pbx_id, question.linkedid)
        return True
