"""Errors of the database: is it away, have two transactions collided, and what may be logged of them."""

from typing import Any

from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

_TO_BLAME = (DataError, IntegrityError)
_COLLISIONS = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
# SQLSTATEs of a PostgreSQL that is away without an OperationalError: read-only, and transaction ended for idling
_READ_ONLY = "25006"
_AWAY = frozenset({_READ_ONLY, "25P03"})


def is_away(error: Exception) -> bool:
    """Whether the database as a whole fails: not reachable, full, locked, damaged, or its tables or rights are missing.

    False: the written values are to blame, and would be refused again.
    """
    if isinstance(error, (OperationalError, InterfaceError, PoolTimeoutError)) or type(error) is DatabaseError:
        return True
    # PostgreSQL's other errors carry an SQLSTATE; without one, the driver refused a value
    return type(error) not in _TO_BLAME and getattr(getattr(error, "orig", None), "sqlstate", None) is not None


def have_collided(error: Exception) -> bool:
    """Whether two transactions collided: they wrote the same key, one deleted what the other refers to, or they locked
    rows in opposite orders. Begun again, the one that was rolled back sees what the other has done."""
    sqlstate = getattr(getattr(error, "orig", None), "sqlstate", None)
    return isinstance(error, IntegrityError) or sqlstate in _COLLISIONS


def reason(error: SQLAlchemyError) -> str:
    """The driver's message, for a log line: without the statement."""
    return str(getattr(error, "orig", None) or error)


def install(engine: Engine) -> None:
    """Handles the errors of an engine: no values in messages, and some of PostgreSQL's mean that it is away."""
    event.listen(engine, "handle_error", _drop_details)
    event.listen(engine, "handle_error", _as_away)


def _drop_details(context: ExceptionContext) -> None:
    """Keeps the first sentence of PostgreSQL's message, in the driver's exception and in SQLAlchemy's. The rest repeats
    values even with hide_parameters: the failing row in DETAIL, a text that could not be read in CONTEXT."""
    error, shown = context.original_exception, context.sqlalchemy_exception
    first = getattr(getattr(error, "diag", None), "message_primary", None)
    if first:
        if shown:
            shown.args = tuple(str(part).replace(str(error), first) for part in shown.args)
        error.args = (first,)


def _as_away(context: ExceptionContext) -> OperationalError | None:
    """Two errors that the driver calls internal mean that the database is away: it is read-only for now, after a
    failover for example, or it has ended the transaction of a process that stood still."""
    error: Any = context.original_exception
    if getattr(error, "sqlstate", None) not in _AWAY:
        return None
    # connect again for the next transaction: another one of several hosts may accept writes by now
    context.is_disconnect = context.is_disconnect or error.sqlstate == _READ_ONLY
    return OperationalError(context.statement, None, error)
