"""Which due deliveries a claim takes: lanes by their shares, projects and webhooks in turn, none beyond its limits."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import BigInteger, Row, bindparam, text
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.last_look import OldestLease
from pbxhub.delivery.outbox.due import DueQueue
from pbxhub.delivery.webhook_cache import LiveWebhook
from pbxhub.store.bulk import Query
from pbxhub.store.columns import AMONG, ListOf, UtcDateTime
from pbxhub.store.delivery_rows import BULK, FIRST_ATTEMPTS, RETRIES, NewDelivery
from pbxhub.store.ids import new_id, numbered_token

SHARES = {FIRST_ATTEMPTS: 0.7, RETRIES: 0.2, BULK: 0.1}  # of each batch; the others get what a lane does not use
FEWEST_ASKED = 8  # rows read of each webhook, at least
_UNLIMITED = 1_000_000_000
T = TypeVar("T")

# It adds nothing, but of a range PostgreSQL expects few rows (1 in 200) when it has no statistics. Of all tokens that
# are greater than one it would expect a third of the table, and read it from end to end.
_ALL_TOKENS = {"no_token": UUID(int=0), "newest_token": UUID(int=(1 << 128) - 1)}
_SERVER = "CAST(pg_postmaster_start_time() AS text)"
_OF_LEASES = """
    SELECT webhook_id, project_id, count(*) AS number, {oldest} AS oldest FROM delivery
     WHERE {which} AND due_at > :now GROUP BY {webhook_id}, project_id"""
_IN_FLIGHT = {
    dialect: Query(text(statement).bindparams(bindparam("now", type_=UtcDateTime())))
    for dialect, statement in {
        # > and + lead to ix_delivery_claimed
        "sqlite": _OF_LEASES.format(oldest="NULL", which="claim_token > ''", webhook_id="+webhook_id"),
        # and the number of this claim (last_look.py), with the server that gave it
        "postgresql": _OF_LEASES.format(
            oldest='min(CAST(claim_token AS text) COLLATE "C")',
            which=f"claim_token >= CASE WHEN {_SERVER} = :server THEN CAST(:oldest_token AS uuid) ELSE :no_token END"
            " AND claim_token <= :newest_token",
            webhook_id="webhook_id",
        )
        + f" UNION ALL SELECT 0, 0, nextval('delivery_claim'), {_SERVER}",
    }.items()
}

_WAITING = """
    SELECT {columns} FROM delivery x
     WHERE x.state = 'pending' AND x.lane = :lane AND x.webhook_id = w.id AND x.due_at <= :now {since}
     ORDER BY x.due_at LIMIT :most"""
_COLUMNS = (
    "{0}.id, {0}.webhook_id, {0}.project_id, {0}.due_at, {0}.claim_token IS NOT NULL AS lost, {0}.held,"
    " {0}.files <> '[]' AS has_files"
)
# each from its first delivery on, where that is known (last_look.py)
_ASKED = "unnest(CAST(:webhook_ids AS bigint[]), CAST(:since AS timestamptz[])) AS w(id, since)"
_FIRST_OF_EACH = {  # only the columns above are formatted into these statements
    "sqlite": f"SELECT {_COLUMNS.format('d')} FROM webhook w"  # noqa: S608
    f" JOIN delivery d ON d.id IN ({_WAITING.format(columns='x.id', since='')})"
    f" WHERE w.id {AMONG['sqlite'].format('webhook_ids')}",
    "postgresql": f"SELECT d.* FROM {_ASKED}"  # noqa: S608
    f" JOIN LATERAL ({_WAITING.format(columns=_COLUMNS.format('x'), since='AND x.due_at >= w.since')}) d ON true",
}
_GIVEN: dict[str, Any] = {"now": UtcDateTime(), "webhook_ids": ListOf(BigInteger()), "since": ListOf(UtcDateTime())}
_FIRST = {  # ids stay as the driver returns them, because the next statement takes them back
    dialect: Query(
        text(statement).bindparams(
            *(bindparam(name, type_=kind) for name, kind in _GIVEN.items() if f":{name}" in statement)
        )
    )
    for dialect, statement in _FIRST_OF_EACH.items()
}


def _candidates(
    session: Session, queues: Sequence[DueQueue], room: "Room", limit: int, now: datetime
) -> list[Row[Any]]:
    """Due rows of one lane in fair order: the projects in turn, within each its webhooks in turn, oldest first.

    Those with the fewest requests in flight come first: when hanging receivers have taken all places, each place that
    becomes free goes to somebody else.
    """
    waiting = sorted(queues, key=lambda queue: (*room.taken(queue), queue.due_at))
    open_queues = _with_room(session, _in_turns(waiting, "project_id"), room, limit)
    if not open_queues:
        return []
    most = min(max(map(room.of, open_queues)), max(FEWEST_ASKED, -(-2 * limit // len(open_queues))))
    first = _FIRST[session.get_bind().dialect.name]
    since = {queue.webhook_id: queue.since for queue in sorted(open_queues, key=lambda queue: queue.webhook_id)}
    lane, times = open_queues[0].lane, list(since.values())
    rows = first.all(session, lane=lane, now=now, most=most, webhook_ids=list(since), since=times)
    room.last_look.read(lane, since, rows, most)
    rows.sort(key=lambda row: (*room.taken(row), row.due_at))
    return _in_turns(_in_turns(rows, "webhook_id"), "project_id")


def _with_room(session: Session, queues: Sequence[DueQueue], room: "Room", limit: int) -> list[DueQueue]:
    """The first `limit` queues with room for more. Webhooks beyond these are not looked up."""
    found: list[DueQueue] = []
    for start in range(0, len(queues), limit):
        part = queues[start : start + limit]
        room.learn(session, part)
        found += [queue for queue in part if room.of(queue) > 0]
        if len(found) >= limit:
            break
    return found[:limit]


def _in_turns(rows: Sequence[T], column: str) -> list[T]:
    """The first row of each value of the column, then the second of each, and so on; otherwise in the given order."""
    queues: dict[Any, list[T]] = {}
    for row in rows:
        queues.setdefault(getattr(row, column), []).append(row)
    if len(queues) == 1:
        return list(rows)
    return [row for turn in zip_longest(*queues.values()) for row in turn if row is not None]


class Room:
    """How many more requests of each webhook and project may be in flight. webhooks: those looked up so far. token: for
    what is claimed here."""

    def __init__(
        self, session: Session, context: DeliveryContext, now: datetime, rooms: Mapping[int, int]
    ) -> None:  # fmt: skip
        self._cache, self._rooms, self.last_look = context.webhook_cache, rooms, context.last_look
        self._by_webhook, self._by_project = Counter[int](), Counter[int]()
        self.token = self._count(session, context.oldest_lease, now)
        self.webhooks: dict[int, LiveWebhook] = {}
        self._webhooks: dict[int, int] = {}
        self._projects: dict[int, int] = {}

    def _count(self, session: Session, oldest: OldestLease, now: datetime) -> UUID:
        """Counts what is in flight. Returns the token for what is claimed here."""
        statement = _IN_FLIGHT[session.get_bind().dialect.name]
        token, tokens = new_id(), list[UUID]()
        for row in statement.all(session, now=now, **_ALL_TOKENS, **oldest.known(now)):
            if row.webhook_id:
                self._by_webhook[row.webhook_id] += row.number
                self._by_project[row.project_id] += row.number
                tokens += [UUID(row.oldest)] if row.oldest else []
            else:  # PostgreSQL, last
                token = numbered_token(row.number)
                oldest.counted(session, min([*tokens, token]), row.oldest, now)
        return token

    def learn(self, session: Session, queues: Iterable[DueQueue | NewDelivery]) -> None:
        """Looks up the webhooks of these queues."""
        unknown = [queue for queue in queues if queue.webhook_id not in self.webhooks]
        projects = self._cache.fetch(session, {queue.project_id for queue in unknown}) if unknown else {}
        for queue in unknown:
            project = projects.get(queue.project_id)
            webhook = project.by_id.get(queue.webhook_id) if project else None
            if webhook is not None:
                self.webhooks[webhook.id] = webhook
                limits = webhook.spec.limits
                free = limits.in_flight - self._by_webhook[webhook.id]
                self._webhooks[webhook.id] = min(free, 1) if limits.per_minute else free
            self._projects.setdefault(queue.project_id, self._allowed(queue.project_id))

    def _allowed(self, project_id: int) -> int:
        try:
            return self._rooms[project_id]  # a defaultdict has a number for every project
        except KeyError:
            return _UNLIMITED

    def taken(self, of: Any) -> tuple[int, int]:
        """How many requests of its project and of its webhook were in flight when this claim began."""
        return self._by_project[of.project_id], self._by_webhook[of.webhook_id]

    def of(self, queue: DueQueue) -> int:
        """How many more of this queue may be claimed; 0 if its webhook has not been looked up."""
        return min(self._webhooks.get(queue.webhook_id, 0), self._projects.get(queue.project_id, 0))

    def left(self, row: Row[Any]) -> dict[tuple[str, int], int]:
        """How many more of the webhook and of the project of this row may be claimed."""
        return {
            ("webhook", row.webhook_id): self._webhooks[row.webhook_id],
            ("project", row.project_id): self._projects[row.project_id],
        }

    def take(self, row: Row[Any] | NewDelivery) -> bool:
        if self._webhooks[row.webhook_id] < 1 or self._projects[row.project_id] < 1:
            return False
        self._webhooks[row.webhook_id] -= 1
        self._projects[row.project_id] -= 1
        return True


def choose(
    session: Session, room: Room, ready: Sequence[DueQueue], limit: int, now: datetime, chance: Callable[[], float],
) -> tuple[list[Row[Any]], bool]:  # fmt: skip
    """Fills a batch: first each lane gets its share, then the rest goes to the lanes in their order. True: more may be
    due.

    chance() rounds a share to a whole place, sometimes up and sometimes down, and the last lane comes first: places
    that become free one by one must not all go to first attempts. The same is done with the places of a webhook and of
    a project, where something more urgent waits for them: of a webhook that has one, a resend of thousands must not
    take it each time.
    """
    lanes = {
        lane: deque(_candidates(session, queues, room, limit, now))
        for lane in SHARES
        if (queues := [queue for queue in ready if queue.lane == lane])
    }
    chosen: list[Row[Any]] = []
    for lane in sorted(lanes, reverse=True):
        share = int(limit * SHARES[lane] + chance())
        urgent = [row for other, rows in lanes.items() if other < lane for row in rows]
        of_each = _shares(urgent, SHARES[lane], room, chance)
        chosen += _take(lanes[lane], min(share, limit - len(chosen)), room, of_each)
    for rows in lanes.values():
        chosen += _take(rows, limit - len(chosen), room)
    left = any(lanes.values()) or any(room.of(queue) < 1 for queue in ready)
    most_of_one = max(Counter(row.webhook_id for row in chosen).values(), default=0)
    return chosen, left or len(chosen) == limit or most_of_one >= FEWEST_ASKED


def _shares(
    urgent: Iterable[Row[Any]], share: float, room: Room, chance: Callable[[], float]
) -> dict[tuple[str, int], int]:
    """Of each webhook and project for which these rows wait: how many places a lane with this share may take."""
    places: dict[tuple[str, int], int] = {}
    for row in urgent:
        places |= room.left(row)
    return {one: int(number * share + chance()) for one, number in places.items()}


def _take(
    rows: deque[Row[Any]], number: int, room: Room, of_each: Mapping[tuple[str, int], int] | None = None
) -> list[Row[Any]]:
    """Takes rows out of the queue, no more of each webhook and project than of_each says; what is over this stays."""
    taken, over, left = list[Row[Any]](), list[Row[Any]](), dict(of_each or {})
    while rows and len(taken) < number:
        row = rows.popleft()
        limits = [one for one in room.left(row) if one in left] if left else []
        if any(left[one] < 1 for one in limits):
            over.append(row)
        elif room.take(row):
            taken.append(row)
            left |= {one: left[one] - 1 for one in limits}
    rows.extendleft(reversed(over))
    return taken
