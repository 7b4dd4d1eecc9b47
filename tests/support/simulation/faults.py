"""What goes wrong with the database in a step: a statement fails, a commit fails or is not answered, the process dies.

A killed process leaves nothing but what it has committed. It is an exception that nobody catches.
"""

import sqlite3
from random import Random
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

FAILS, REFUSED, UNHEARD = "a statement fails", "the commit is refused", "the commit is not answered"
DIES, DIES_BEFORE, DIES_AFTER = "it dies at a statement", "it dies before the commit", "it dies after the commit"
DIES_SENDING = "it dies before a request leaves"
KINDS = (FAILS, REFUSED, UNHEARD, DIES, DIES_BEFORE, DIES_AFTER, DIES_SENDING)
_MOST_STATEMENTS = 40


class KilledError(BaseException):
    """The process is dead."""


def away() -> OperationalError:
    return OperationalError("", None, sqlite3.OperationalError("disk I/O error"))


class Faults:
    """Of one process. plan() says what will go wrong next; nothing does until then. happened: whether it has."""

    def __init__(self) -> None:
        self.kind, self.happened, self._left = "", False, 0

    def plan(self, chance: Random, probability: float) -> None:
        self.kind, self.happened = "", False
        if chance.random() < probability:
            self.kind = chance.choice(KINDS)
            self._left = chance.randrange(_MOST_STATEMENTS if self.kind in (FAILS, DIES) else 3)

    def spare(self) -> None:
        """Nothing goes wrong any more."""
        self.kind = ""

    def install(self, engine: Engine) -> None:
        commit = engine.dialect.do_commit
        event.listen(engine, "before_cursor_execute", self._statement)

        def committing(connection: Any) -> None:
            if self._now(DIES_BEFORE):
                raise KilledError
            if self._now(REFUSED):
                raise sqlite3.OperationalError("disk I/O error")
            commit(connection)
            if self._now(DIES_AFTER):
                raise KilledError
            if self._now(UNHEARD):
                raise sqlite3.OperationalError("connection lost")

        engine.dialect.do_commit = committing  # type: ignore[method-assign]

    def sending(self) -> None:
        """A request is about to leave."""
        if self._now(DIES_SENDING):
            raise KilledError

    def _statement(self, *_event: Any) -> None:
        if self._now(FAILS):
            raise away()
        if self._now(DIES):
            raise KilledError

    def _now(self, kind: str) -> bool:
        if self.kind != kind or self.happened:
            return False
        self._left -= 1
        self.happened = self._left < 0
        return self.happened
