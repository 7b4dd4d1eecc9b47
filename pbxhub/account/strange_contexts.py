"""Contexts of a PBX in which calls from strangers begin but that are not incoming contexts: probably a trunk's."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.calls.incoming_contexts import IncomingContexts
from pbxhub.store.accounts import Employee, Pbx
from pbxhub.store.history import Call

_MOST_CALLS = 5000  # the newest of the day
_EXTENSION = re.compile(r"[0-9]{2,6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class StrangeContext:
    """calls: how many calls of strangers began in it today."""

    context: str
    calls: int


def strange_contexts(session: Session, pbx: Pbx, now: datetime) -> list[StrangeContext]:
    """The contexts in which calls of today began that neither came in by an incoming context nor are an employee's, the
    busiest first. Today: since midnight in the project's time zone.

    A context from which an employee has called, inside or out, is the phones': what else begins there is no trunk's.
    """
    calls = select(
        Call.direction, Call.caller, Call.data["context"].as_string(), Call.data["channel"].as_string()
    ).where(Call.project_id == pbx.project_id, Call.pbx_id == pbx.id, Call.started_on >= _midnight(pbx, now))
    calls = calls.where(Call.direction != "incoming")
    rows = session.execute(calls.order_by(Call.started_on.desc()).limit(_MOST_CALLS)).all()
    known = _phones(session, pbx)
    strangers: dict[str, int] = {}
    phones: set[str] = set()
    for direction, caller, context, channel in rows:
        if direction == "outgoing" or (direction == "internal" and _is_employees(caller, channel or "", known)):
            phones.add(context)
        elif direction == "internal" and context:
            strangers[context] = strangers.get(context, 0) + 1
    incoming = IncomingContexts(pbx.incoming_contexts)
    found = [
        StrangeContext(context, count)
        for context, count in strangers.items()
        if context not in phones and context not in incoming
    ]
    return sorted(found, key=lambda each: (-each.calls, each.context))


def _midnight(pbx: Pbx, now: datetime) -> datetime:
    zone = ZoneInfo(pbx.project.time_zone)
    return datetime.combine(now.astimezone(zone).date(), time(), zone).astimezone(UTC)


def _phones(session: Session, pbx: Pbx) -> frozenset[str]:
    """What the phones of the project's employees are called: their extensions and endpoints."""
    cards = session.execute(select(Employee.extension, Employee.endpoints).where(Employee.project_id == pbx.project_id))
    return frozenset(name for card in cards for name in (card.extension, *card.endpoints))


def _is_employees(caller: str, channel: str, known: frozenset[str]) -> bool:
    """Whether an employee's phone began the call: by its card, or because it shows an extension."""
    endpoint = channel.partition("/")[2].rpartition("-")[0]
    return endpoint in known or caller in known or _EXTENSION.fullmatch(caller) is not None
