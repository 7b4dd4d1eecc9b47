"""Finds the webhooks that have something due, at a cost that does not grow with the number of waiting deliveries.

ix_delivery_soon has the pending deliveries in the order of their times, so what is due is at its beginning: the first
LOOK of each lane are read. If there are more, the deliveries of one webhook may hide those of another. Then the newest
LOOK due ones are read as well, and a recursive query hops along ix_delivery_due from webhook to webhook, HOPS of them,
from a random place. So no webhook is passed over for long. tests/test_claim_among_many_webhooks.py

While somebody's open transaction makes that dear, most looks are at what is new (delivery/last_look.py).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Float, bindparam, text
from sqlalchemy.orm import Session

from pbxhub.delivery.last_look import DEAD, LastLook, Queue
from pbxhub.store.bulk import Query
from pbxhub.store.columns import ListOf, UtcDateTime
from pbxhub.store.delivery_rows import IS_QUEUED, LANES

LOOK = 500  # deliveries of a lane
HOPS = 1000  # webhooks of a lane
# Between two requests of a webhook with a rate there is a minute at most. A time further ahead is of a host whose clock
# is wrong, and is not waited for; the second minute is for clocks that differ a little.
LONGEST_PACE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class DueQueue:
    """The due deliveries of one webhook in one lane. due_at: of the first of them that was seen. since: no delivery of
    it is due before. live: enabled, not deleted."""

    lane: int
    webhook_id: int
    project_id: int
    due_at: datetime
    since: datetime
    live: bool


@dataclass(frozen=True, slots=True)
class Due:
    """next_due: when the next delivery that is not due yet will be. partly: there may be more queues than these."""

    queues: list[DueQueue]
    next_due: datetime | None
    partly: bool


def find_due(session: Session, now: datetime, chance: Callable[[], float], known: LastLook) -> Due:
    """All queues but those of paused webhooks, of connections without a valid token, and of webhooks that have sent as
    much as their rate allows; of a crowded lane, LOOK to LOOK + HOPS of them."""
    since = known.since(now)
    recent = None if since is None else _look_again(session, now, known, since)
    return recent or _look_at_all(session, now, chance, known)


def _look_at_all(session: Session, now: datetime, chance: Callable[[], float], known: LastLook) -> Due:
    begun = time.perf_counter()
    rows = _SOON[session.get_bind().dialect.name].all(session, now=now, latest=now + LONGEST_PACE, most=LOOK)
    next_due = next((row.due_at for row in rows if row.due_at and row.lane == 0), None)
    found = [row for row in rows if row.lane]
    read = sum(row.number for row in rows if row.lane == 0) - sum(row.number for row in found)
    crowded, partly = _crowded(found), set[int]()
    for lane in crowded:
        more, all_seen = _look_further(session, lane, now, chance())
        found += more
        partly |= set() if all_seen else {lane}
    if read > DEAD and not partly:
        known.begin(_first(found), next_due, now, time.perf_counter() - begun)
    else:
        known.clear()
    queues = [replace(one, since=_THE_BEGINNING) if one.lane in partly else one for one in _queues(found)]
    return Due(queues, _next(found, next_due), bool(partly))


def _look_again(session: Session, now: datetime, known: LastLook, since: datetime) -> Due | None:
    """The queues that are known, and those in which something became due since. None: these are too many to tell."""
    first = known.first
    found = _RECENT.all(
        session, now=now, latest=now + LONGEST_PACE, most=LOOK, since=since,
        of_lanes=[lane for lane, _ in first], webhook_ids=[id_ for _, id_ in first], first=list(first.values()),
    )  # fmt: skip
    if _crowded(found):
        return None
    known.add(_first(found), now)
    return Due(_queues(found), _next(found, known.next_look(now)), False)


def _crowded(rows: Iterable[Any]) -> list[int]:
    numbers = Counter[int]()
    for row in rows:
        numbers[row.lane] += row.number
    return [lane for lane in LANES if numbers[lane] >= LOOK]


def _next(found: Iterable[Any], next_due: datetime | None) -> datetime | None:
    times = [row.ready_on for row in found if row.ready_on and not row.paused]
    return min([*times, next_due] if next_due else times, default=None)


def _first(rows: Iterable[Any]) -> dict[Queue, datetime]:
    first: dict[Queue, datetime] = {}
    for row in rows:
        queue = row.lane, row.webhook_id
        first[queue] = min(row.due_at, first.get(queue, row.due_at))
    return first


def _queues(rows: Sequence[Any]) -> list[DueQueue]:
    first = _first(rows)
    ready = {(row.lane, row.webhook_id): row for row in rows if row.paused == 0 and row.ready_on is None}
    return [
        DueQueue(*queue, row.project_id, first[queue], first[queue], bool(row.live)) for queue, row in ready.items()
    ]


def _look_further(session: Session, lane: int, now: datetime, start: float) -> tuple[list[Any], bool]:
    """The newest due deliveries of a crowded lane, and the webhooks met by hops. True: there are no others."""
    dialect = session.get_bind().dialect.name
    times = {"now": now, "latest": now + LONGEST_PACE}
    newest = _NEWEST[dialect].all(session, lane=lane, most=LOOK, **times)
    hopped = _HOP[dialect].all(session, lane=lane, start=start, hops=HOPS, **times)
    if len(hopped) < HOPS and start > 0:  # at the end of the index: go on from its beginning
        hopped += _HOP[dialect].all(session, lane=lane, start=0.0, hops=HOPS, **times)
    return newest + [row for row in hopped if row.due_at <= now], len({row.webhook_id for row in hopped}) < HOPS


_THE_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_PENDING = f"SELECT lane, webhook_id, due_at FROM delivery WHERE {IS_QUEUED} AND lane + 0 = {{lane}}"  # noqa: S608


def _first_of_each_lane(since: str = "") -> str:
    """since: a condition with AND."""
    return " UNION ALL ".join(
        f"SELECT * FROM ({_PENDING.format(lane=lane)} AND {since}due_at <= :now ORDER BY due_at LIMIT :most) AS l{lane}"  # noqa: S608
        for lane in LANES
    )


_FIRST = _first_of_each_lane()
_LAST = f"{_PENDING.format(lane=':lane')} AND due_at <= :now ORDER BY due_at DESC LIMIT :most"
_NEXT = " UNION ALL ".join(
    f"SELECT * FROM ({_PENDING.format(lane=lane)} AND due_at > :now ORDER BY due_at LIMIT 1) AS l{lane}"  # noqa: S608
    for lane in LANES
)
_FROM = """
    SELECT due.lane, due.webhook_id, w.project_id, due.due_at, due.number,
           CASE WHEN w.enabled AND w.deleted_on IS NULL THEN 1 ELSE 0 END AS live,
           CASE WHEN (w.paused_on IS NOT NULL OR c.id IS NOT NULL AND (c.ready_until IS NULL OR c.ready_until <= :now))
                 AND w.enabled AND w.deleted_on IS NULL THEN 1 ELSE 0 END AS paused,
           CASE WHEN pace.next_on > :now AND pace.next_on <= :latest AND w.enabled AND w.deleted_on IS NULL
                THEN pace.next_on END AS ready_on
      FROM {queues} due JOIN {webhook} LEFT JOIN connection c ON c.id = w.connection_id
      LEFT JOIN webhook_pace pace ON pace.webhook_id = w.id"""
_GROUPED = (
    "(SELECT lane, webhook_id, min(due_at) AS due_at, count(*) AS number FROM ({}) rows GROUP BY lane, webhook_id)"
)
_WEBHOOK = {  # by its id, one by one: PostgreSQL would otherwise read the whole table
    "sqlite": "webhook w ON w.id = due.webhook_id",
    "postgresql": "LATERAL (SELECT * FROM webhook WHERE id = due.webhook_id OFFSET 0) w ON true",
}
_OF_LANE = "FROM delivery WHERE state = 'pending' AND lane = :lane"
_BY_HOPS = f"""
    WITH RECURSIVE hop(webhook_id, number) AS (
        SELECT (SELECT webhook_id {_OF_LANE} AND webhook_id >=
                (SELECT CAST(webhook_id * :start AS bigint) {_OF_LANE} ORDER BY webhook_id DESC LIMIT 1)
                ORDER BY webhook_id LIMIT 1), 1
        UNION ALL
        SELECT (SELECT webhook_id {_OF_LANE} AND webhook_id > hop.webhook_id ORDER BY webhook_id LIMIT 1),
               hop.number + 1
          FROM hop WHERE hop.webhook_id IS NOT NULL AND hop.number < :hops
    )"""  # noqa: S608
_EACH_HOP = f"""(
    SELECT CAST(:lane AS integer) AS lane, hop.webhook_id, hop.number,
           (SELECT due_at {_OF_LANE} AND webhook_id = hop.webhook_id ORDER BY due_at LIMIT 1) AS due_at
      FROM hop WHERE hop.webhook_id IS NOT NULL)"""  # noqa: S608


def _query(statement: str) -> Query:
    """Only the texts above are formatted into these statements."""
    given: dict[str, Any] = {
        "now": UtcDateTime(),
        "latest": UtcDateTime(),
        "lane": BigInteger(),
        "most": BigInteger(),
        "hops": BigInteger(),
        "start": Float(),
        "since": UtcDateTime(),
        "of_lanes": ListOf(BigInteger()),
        "webhook_ids": ListOf(BigInteger()),
        "first": ListOf(UtcDateTime()),
    }
    binds = (bindparam(name, type_=kind) for name, kind in given.items() if f":{name}" in statement)
    return Query(text(statement).bindparams(*binds).columns(due_at=UtcDateTime(), ready_on=UtcDateTime()))


_AHEAD = f" UNION ALL SELECT 0, 0, 0, min(due_at), {{read}}, 0, 0, NULL FROM ({_NEXT}) AS later"  # noqa: S608
# How many entries of the index were read: the branches of a UNION ALL run one after the other. What the server counts
# goes on over several transactions, so it is asked before and after.
_READ = "pg_stat_get_xact_tuples_returned('ix_delivery_soon'::regclass)"
_SOON = {
    "sqlite": _query(
        _FROM.format(queues=_GROUPED.format(_FIRST), webhook=_WEBHOOK["sqlite"]) + _AHEAD.format(read="0")
    ),
    "postgresql": _query(
        f"SELECT 0 AS lane, 0 AS webhook_id, 0 AS project_id, CAST(NULL AS timestamptz) AS due_at, -{_READ} AS number,"
        " 0 AS live, 0 AS paused, CAST(NULL AS timestamptz) AS ready_on UNION ALL "
        + _FROM.format(queues=_GROUPED.format(_FIRST), webhook=_WEBHOOK["postgresql"])
        + _AHEAD.format(read=_READ)
    ),
}
_KNOWN = "unnest(CAST(:of_lanes AS bigint[]), CAST(:webhook_ids AS bigint[]), CAST(:first AS timestamptz[]))"
_NEW_AND_KNOWN = f"""(
    SELECT lane, webhook_id, min(due_at) AS due_at, sum(one) AS number
      FROM (SELECT lane, webhook_id, due_at, 0 AS one FROM {_KNOWN} AS known(lane, webhook_id, due_at) UNION ALL
            SELECT lane, webhook_id, due_at, 1 FROM ({_first_of_each_lane("due_at >= :since AND ")}) AS new) rows
     GROUP BY lane, webhook_id)"""  # noqa: S608
_RECENT = _query(_FROM.format(queues=_NEW_AND_KNOWN, webhook=_WEBHOOK["postgresql"]))
_NEWEST = {
    dialect: _query(_FROM.format(queues=_GROUPED.format(_LAST), webhook=webhook))
    for dialect, webhook in _WEBHOOK.items()
}
_HOP = {
    dialect: _query(_BY_HOPS + _FROM.format(queues=_EACH_HOP, webhook=webhook)) for dialect, webhook in _WEBHOOK.items()
}
