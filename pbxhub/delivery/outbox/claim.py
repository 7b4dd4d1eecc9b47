"""Hands due deliveries to a worker: a fair choice, leased to it by a token, with the attempt written before it leaves.

Nothing here looks at a row that is not due: find_due tells behind which webhooks something is, a few rows are taken
behind each, however many wait there, and ix_delivery_claimed holds only what is in flight.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import BigInteger, Row, Table, Uuid, bindparam, text
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.cancel import cancel_pending
from pbxhub.delivery.outbox.due import Due, Queue, find_due
from pbxhub.delivery.outbox.lost_attempts import leave_lost
from pbxhub.delivery.outbox.sequence import hold_on
from pbxhub.delivery.webhook_cache import LiveWebhook, WebhookCache
from pbxhub.store.bulk import Insert, Query
from pbxhub.store.columns import AMONG, RAW_IDS, JsonColumn, ListOf, UtcDateTime
from pbxhub.store.ids import new_id
from pbxhub.store.session import STALLED, Base
from pbxhub.webhooks.request import Request

LEASE = timedelta(seconds=20)  # beyond the deadline of the request
SHARES = {1: 0.7, 2: 0.2, 3: 0.1}  # of each batch, when every lane has work; what one leaves goes to the others
FEWEST_ASKED = 8  # rows looked at behind each webhook, at least
LOOK_ELSEWHERE = timedelta(milliseconds=50)  # where a thousand webhooks with something due had no room
_UNLIMITED = 1_000_000_000
TRY_AGAIN = timedelta(milliseconds=5)  # while another process chooses: it takes some ms, unless it has been frozen
# One process chooses at a time, or two would each fill the last place of a webhook. Nobody waits for it: a frozen one
# loses its turn after STALLED. Whoever chooses waits for nobody's rows either, at least not for long.
_MAY_CHOOSE = (
    f"SELECT pg_try_advisory_xact_lock({0x70627868}), set_config('lock_timeout', '1s', true),"
    f" set_config('idle_in_transaction_session_timeout', '{STALLED}', true)"
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claimed:
    """One delivery that this worker must send before lease_until, and nobody else may.

    attempt: its number, already written. tries: finished attempts since publish or the last resend.
    outcome: of the attempt before, "" at the first. request: as stored, without credentials and signature.
    """

    id: UUID
    project_id: int
    stage_event_id: UUID | None
    call_id: UUID | None
    sequence_id: UUID | None
    kind: str
    lane: int
    attempt: int
    tries: int
    outcome: str
    token: UUID
    started_on: datetime
    lease_until: datetime
    created_on: datetime
    request: Request
    webhook: LiveWebhook


@dataclass(frozen=True, slots=True)
class Batch:
    """What a claim brought. next_due: when to ask again at the latest, None while nothing waits for its time; very
    soon when another process was choosing.

    given_up: lost by too many workers in a row; they are this worker's, to be recorded as such and not to be sent.
    more: something due may have been left behind, for want of room or because it was enough: ask again at the next
    turn.
    """

    claimed: tuple[Claimed, ...]
    next_due: datetime | None
    more: bool
    given_up: tuple[Claimed, ...] = ()


def claim(
    context: DeliveryContext, session: Session, limit: int, now: datetime, rooms: Mapping[int, int] | None = None,
    lease: timedelta = LEASE, chance: Callable[[], float] = random.random,
) -> Batch:  # fmt: skip
    """Takes up to `limit` due deliveries and writes their attempts, in the caller's transaction; send after its commit.

    No more than spec.limits.in_flight of a webhook are ever claimed at once, over all processes, and no more than
    rooms[project_id] of a project now, where that is given. Paused webhooks wait; deliveries of disabled or deleted
    ones are cancelled on the way. Whatever an earlier worker left unfinished is marked worker_lost and taken again.
    """
    session.flush()  # what record has changed in the same transaction: the rest goes past the session
    if not _may_choose(session):
        return Batch((), now + TRY_AGAIN, False)
    due = find_due(session, now, chance)
    for webhook_id in {queue.webhook_id for queue in due.queues if not queue.live}:
        cancel_pending(session, webhook_id, now)
    ready = [queue for queue in due.queues if queue.live]
    if not ready or limit < 1:
        return Batch((), _ask_again(due, now), bool(ready))
    room = _Room(session, context.webhook_cache, now, rooms or {})
    chosen, more = _choose(session, room, ready, limit, now, chance)
    chosen, hopeless = leave_lost(session, chosen, now)
    claimed = _lease(session, hold_on(session, chosen, now), room.webhooks, now, lease)
    given_up = _own(session, hopeless, room.webhooks, now, lease)
    next_due = due.next_due if claimed or given_up else _ask_again(due, now)
    return Batch(tuple(claimed), next_due, more or due.partly, tuple(given_up))


def _ask_again(due: Due, now: datetime) -> datetime | None:
    """Where nothing could be taken of what was seen, there may be something among the rest."""
    return now + LOOK_ELSEWHERE if due.partly else due.next_due


def _may_choose(session: Session) -> bool:
    """SQLite lets nobody else in anyway."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.connection().exec_driver_sql(_MAY_CHOOSE).scalar())


_IN_FLIGHT = Query(
    text("""
    SELECT webhook_id, project_id, count(*) AS number FROM delivery
     WHERE claim_token IS NOT NULL AND due_at > :now GROUP BY webhook_id, project_id
""").bindparams(bindparam("now", type_=UtcDateTime()))
)

_WAITING = """
    SELECT {columns} FROM delivery x
     WHERE x.state = 'pending' AND x.lane = :lane AND x.webhook_id = w.id AND x.due_at <= :now
     ORDER BY x.due_at LIMIT :most"""
_COLUMNS = "{0}.id, {0}.webhook_id, {0}.project_id, {0}.due_at, {0}.claim_token IS NOT NULL AS lost, {0}.held"
_FIRST_OF_EACH = {  # nothing but the columns above is put into these statements
    "sqlite": f"SELECT {_COLUMNS.format('d')} FROM webhook w"  # noqa: S608
    f" JOIN delivery d ON d.id IN ({_WAITING.format(columns='x.id')}) WHERE w.id {{}}",
    "postgresql": f"SELECT d.* FROM webhook w"  # noqa: S608
    f" JOIN LATERAL ({_WAITING.format(columns=_COLUMNS.format('x'))}) d ON true WHERE w.id {{}}",
}
_FIRST = {
    dialect: Query(
        text(statement.format(AMONG[dialect].format("webhook_ids"))).bindparams(
            bindparam("now", type_=UtcDateTime()), bindparam("webhook_ids", type_=ListOf(BigInteger()))
        )
    )
    # ids stay as the driver gives them: they go straight back into the next statement
    for dialect, statement in _FIRST_OF_EACH.items()
}


def _candidates(session: Session, queues: Sequence[Queue], room: "_Room", limit: int, now: datetime) -> list[Row[Any]]:
    """Due rows of one lane in fair order: every project in turn, within it every webhook in turn, oldest first.

    Whoever has the fewest in flight begins: where all places are taken by receivers that hang, each one that comes
    free is for somebody else.
    """
    waiting = sorted(queues, key=lambda queue: (*room.taken(queue), queue.due_at))
    open_queues = _open_ones(session, _in_turns(waiting, "project_id"), room, limit)
    if not open_queues:
        return []
    most = min(max(map(room.of, open_queues)), max(FEWEST_ASKED, -(-2 * limit // len(open_queues))))
    first = _FIRST[session.get_bind().dialect.name]
    webhook_ids = [queue.webhook_id for queue in open_queues]
    rows = first.all(session, lane=open_queues[0].lane, now=now, most=most, webhook_ids=webhook_ids)
    rows.sort(key=lambda row: (*room.taken(row), row.due_at))
    return _in_turns(_in_turns(rows, "webhook_id"), "project_id")


def _open_ones(session: Session, queues: Sequence[Queue], room: "_Room", limit: int) -> list[Queue]:
    """The first `limit` with room for more. Of a webhook nobody asks for, nothing is read."""
    found: list[Queue] = []
    for start in range(0, len(queues), limit):
        part = queues[start : start + limit]
        room.learn(session, part)
        found += [queue for queue in part if room.of(queue) > 0]
        if len(found) >= limit:
            break
    return found[:limit]


def _in_turns(rows: Sequence[T], column: str) -> list[T]:
    """The first row of each value of the column, then the second of each, and so on; otherwise in the order given."""
    queues: dict[Any, list[T]] = {}
    for row in rows:
        queues.setdefault(getattr(row, column), []).append(row)
    if len(queues) == 1:
        return list(rows)
    return [row for turn in zip_longest(*queues.values()) for row in turn if row is not None]


class _Room:
    """How many more of each webhook and project may be in flight. webhooks: those that were looked at."""

    def __init__(self, session: Session, cache: WebhookCache, now: datetime, rooms: Mapping[int, int]) -> None:
        self._cache, self._rooms = cache, rooms
        self._by_webhook, self._by_project = Counter[int](), Counter[int]()
        for row in _IN_FLIGHT.all(session, now=now):
            self._by_webhook[row.webhook_id] += row.number
            self._by_project[row.project_id] += row.number
        self.webhooks: dict[int, LiveWebhook] = {}
        self._webhooks: dict[int, int] = {}
        self._projects: dict[int, int] = {}

    def learn(self, session: Session, queues: Sequence[Queue]) -> None:
        """Looks their webhooks up."""
        unknown = [queue for queue in queues if queue.webhook_id not in self.webhooks]
        projects = self._cache.fetch(session, {queue.project_id for queue in unknown}) if unknown else {}
        for queue in unknown:
            project = projects.get(queue.project_id)
            webhook = project.by_id.get(queue.webhook_id) if project else None
            if webhook is not None:
                self.webhooks[webhook.id] = webhook
                self._webhooks[webhook.id] = webhook.spec.limits.in_flight - self._by_webhook[webhook.id]
            self._projects.setdefault(queue.project_id, self._allowed(queue.project_id))

    def _allowed(self, project_id: int) -> int:
        try:
            return self._rooms[project_id]  # it may know a number for every project
        except KeyError:
            return _UNLIMITED

    def taken(self, of: Any) -> tuple[int, int]:
        """How many of its project and of its webhook were in flight when this claim began."""
        return self._by_project[of.project_id], self._by_webhook[of.webhook_id]

    def of(self, queue: Queue) -> int:
        """0 where it has not been looked up."""
        return min(self._webhooks.get(queue.webhook_id, 0), self._projects.get(queue.project_id, 0))

    def take(self, row: Row[Any]) -> bool:
        if self._webhooks[row.webhook_id] < 1 or self._projects[row.project_id] < 1:
            return False
        self._webhooks[row.webhook_id] -= 1
        self._projects[row.project_id] -= 1
        return True


def _choose(
    session: Session, room: _Room, ready: Sequence[Queue], limit: int, now: datetime, chance: Callable[[], float],
) -> tuple[list[Row[Any]], bool]:  # fmt: skip
    """Fills a batch: first each lane its share, then what is left in the order of the lanes. True: more may be due.

    A share of less than one place is one now and then, and the last lane is asked first: places that come free one by
    one must not all go to first attempts.
    """
    lanes = {
        lane: deque(_candidates(session, queues, room, limit, now))
        for lane in SHARES
        if (queues := [queue for queue in ready if queue.lane == lane])
    }
    chosen: list[Row[Any]] = []
    for lane in sorted(lanes, reverse=True):
        share = int(limit * SHARES[lane] + chance())
        chosen += _take(lanes[lane], min(share, limit - len(chosen)), room)
    for rows in lanes.values():
        chosen += _take(rows, limit - len(chosen), room)
    left = any(lanes.values()) or any(room.of(queue) < 1 for queue in ready)
    most_of_one = max(Counter(row.webhook_id for row in chosen).values(), default=0)
    return chosen, left or len(chosen) == limit or most_of_one >= FEWEST_ASKED


def _take(rows: deque[Row[Any]], number: int, room: _Room) -> list[Row[Any]]:
    taken: list[Row[Any]] = []
    while rows and len(taken) < number:
        row = rows.popleft()
        if room.take(row):
            taken.append(row)
    return taken


_FREE = {  # who cannot lock a row now has somebody else's: it is left for the next turn
    "sqlite": "{due}",
    "postgresql": "id IN (SELECT id FROM delivery WHERE {due} FOR UPDATE SKIP LOCKED)",
}
_TAKE = {
    dialect: Query(
        text(f"""
    UPDATE delivery SET claim_token = :token, due_at = :until, attempts = attempts + 1,
           out_of_order = out_of_order OR held, held = false
     WHERE {free.format(due=f"id {AMONG[dialect].format('ids')} AND state = 'pending' AND due_at <= :now")}
    RETURNING id, project_id, webhook_id, stage_event_id, call_id, sequence_id, kind, lane, attempts, tries, outcome,
           created_on, due_at, method, url, headers, body""")  # noqa: S608
        .bindparams(
            bindparam("token", type_=Uuid()), bindparam("until", type_=UtcDateTime()),
            bindparam("now", type_=UtcDateTime()), bindparam("ids", type_=RAW_IDS[dialect]),
        )
        .columns(
            id=Uuid(), stage_event_id=Uuid(), call_id=Uuid(), sequence_id=Uuid(), created_on=UtcDateTime(),
            due_at=UtcDateTime(), headers=JsonColumn,
        )
    )
    for dialect, free in _FREE.items()
}  # fmt: skip
_ATTEMPT: Table = Base.metadata.tables["attempt"]
_BEGIN = Insert(
    _ATTEMPT,
    ("delivery_id", "number", "started_on"),
    dict.fromkeys(("outcome", "message", "peer", "tls_version", "response_body"), "''")
    | dict.fromkeys(("request_headers", "response_headers"), "'[]'")
    | {"response_truncated": "false"},
)


def _lease(
    session: Session, rows: Sequence[Row[Any]], webhooks: Mapping[int, LiveWebhook], now: datetime, lease: timedelta,
) -> list[Claimed]:  # fmt: skip
    """Writes the token, the attempts and the leases of the chosen rows, each as long as its own webhook's deadline
    asks: what a killed worker had of a quick receiver must not wait for that of a slow one."""
    token, leased = new_id(), list[Any]()
    take = _TAKE[session.get_bind().dialect.name]
    for deadline, ids in _by_deadline(rows, webhooks).items():
        leased += take.all(session, token=token, until=now + timedelta(seconds=deadline) + lease, now=now, ids=ids)
    _BEGIN.run(session, [{"delivery_id": row.id, "number": row.attempts, "started_on": now} for row in leased])
    return [
        _claimed(row, _request(row), webhooks[row.webhook_id], token, now, row.due_at)
        for row in sorted(leased, key=lambda row: (row.lane, row.created_on))
    ]


def _by_deadline(rows: Iterable[Row[Any]], webhooks: Mapping[int, LiveWebhook]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(webhooks[row.webhook_id].spec.limits.deadline, []).append(row.id)
    return found


_OWN = {
    dialect: Query(
        text(f"""
    UPDATE delivery SET claim_token = :token, due_at = :until WHERE id {among.format("ids")}
    RETURNING id, project_id, webhook_id, stage_event_id, call_id, sequence_id, kind, lane, attempts, tries, outcome,
           created_on""")  # noqa: S608
        .bindparams(
            bindparam("token", type_=Uuid()), bindparam("until", type_=UtcDateTime()),
            bindparam("ids", type_=RAW_IDS[dialect]),
        )
        .columns(id=Uuid(), stage_event_id=Uuid(), call_id=Uuid(), sequence_id=Uuid(), created_on=UtcDateTime())
    )
    for dialect, among in AMONG.items()
}  # fmt: skip


def _own(
    session: Session, rows: Sequence[Row[Any]], webhooks: Mapping[int, LiveWebhook], now: datetime, lease: timedelta,
) -> list[Claimed]:  # fmt: skip
    """Writes the token and the lease of rows that leave_lost has locked, and no attempt. Their requests are not read:
    one of them may be what ends the workers."""
    if not rows:
        return []
    token, until = new_id(), now + lease
    own = _OWN[session.get_bind().dialect.name]
    owned = own.all(session, token=token, until=until, ids=[row.id for row in rows])
    nothing = Request("", "", (), b"")
    return [_claimed(row, nothing, webhooks[row.webhook_id], token, now, until) for row in owned]


def _request(row: Row[Any]) -> Request:
    return Request(row.method, row.url, tuple((name, value) for name, value in row.headers), row.body)


def _claimed(
    row: Row[Any], request: Request, webhook: LiveWebhook, token: UUID, now: datetime, until: datetime
) -> Claimed:
    return Claimed(
        row.id, row.project_id, row.stage_event_id, row.call_id, row.sequence_id, row.kind, row.lane, row.attempts,
        row.tries, row.outcome, token, now, until, row.created_on, request, webhook,
    )  # fmt: skip
