"""Figures of the last day for the strip, the bars and the dashboard. Bounded: a busy project is measured on its
newest MOST_ROWS deliveries, and the page says so."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Subquery,
    Uuid,
    column,
    func,
    literal_column,
    select,
    type_coerce,
    values,
)
from sqlalchemy.orm import Session

from pbxhub.store.columns import unindexed
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, FAILED, LANES, Delivery
from pbxhub.store.history import IS_OVER, RESULT, Call
from pbxhub.store.ids import first_id_at
from pbxhub.store.webhooks import Webhook

MOST_ROWS = 100_000
MOST_PROBLEMS = 10_000
HOURS = 24

Conditions = tuple[ColumnElement[bool], ...]
_IS_FAILED = Delivery.state == literal_column("'failed'")  # spelled out, so that the partial indexes serve it
_IS_PENDING = Delivery.state == literal_column("'pending'")
_IS_WAITING = Delivery.state == literal_column("'waiting'")
_NOT_DELIVERED = Delivery.state.in_([literal_column("'failed'"), literal_column("'cancelled'")])  # likewise


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour. counts: how many of what. before: how many in all in the same hour of the day before."""

    start: datetime
    counts: Counter[str]
    before: int = 0

    @property
    def total(self) -> int:
        return self.counts.total()


@dataclass(frozen=True, slots=True)
class DayOfDeliveries:
    """The last 24 hours. partial: only the newest MOST_ROWS were counted. before: delivered in the 24 hours before."""

    bars: tuple[Bar, ...]
    delivered: int
    failed: int
    p50: int | None
    p95: int | None
    partial: bool
    before: int = 0

    @property
    def success(self) -> float | None:
        """Per cent delivered of those that are over."""
        over = self.delivered + self.failed
        return round(100 * self.delivered / over, 1) if over else None


@dataclass(frozen=True, slots=True)
class Problem:
    """Unchecked failures of one webhook with one reason."""

    webhook: Webhook
    outcome: str
    status_code: int | None
    count: int
    since: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class WaitingRetries:
    """What waits for a retry, and when the next one goes."""

    count: int
    next_on: datetime | None


def deliveries_of_day(
    session: Session, project_id: int, now: datetime, webhook_id: int | None = None
) -> DayOfDeliveries:
    """Outcomes by hour and durations of the last 24 hours, of one webhook or of all. Counted by the database: only
    groups leave it."""
    start = _hour(now) - timedelta(hours=HOURS - 1)
    of_webhook = _of(project_id, webhook_id)
    newest = (
        select(_hour_number(session).label("hour"), Delivery.state, Delivery.duration_ms)
        .where(*of_webhook, Delivery.id >= first_id_at(start), Delivery.state != CANCELLED)
        .order_by(Delivery.id.desc())
        .limit(MOST_ROWS)
        .subquery()
    )
    groups = select(newest.c.hour, newest.c.state, newest.c.duration_ms, func.count())
    rows = session.execute(groups.group_by(newest.c.hour, newest.c.state, newest.c.duration_ms)).all()
    before, delivered_before = _day_before(session, project_id, webhook_id, start)
    bars = tuple(Bar(start + timedelta(hours=hour), Counter(), before[hour]) for hour in range(HOURS))
    first = int(start.timestamp()) // 3600
    states, durations = Counter[str](), Counter[int]()
    for hour, state, duration, count in rows:
        states[state] += count
        if duration is not None:
            durations[duration] += count
        if 0 <= int(hour) - first < HOURS:
            bars[int(hour) - first].counts[state] += count
    is_partial = states.total() == MOST_ROWS
    return DayOfDeliveries(
        bars, states[DELIVERED], states[FAILED], _share(durations, 0.5), _share(durations, 0.95), is_partial,
        delivered_before,
    )  # fmt: skip


def _day_before(session: Session, project_id: int, webhook_id: int | None, start: datetime) -> tuple[list[int], int]:
    """How many deliveries each of the 24 hours before had, and how many of all were delivered. Counted in indexes, by
    the times in the ids: reading the rows would cost as much as the day that is shown."""
    of_webhook = _of(project_id, webhook_id)
    ends = [first_id_at(start - timedelta(hours=HOURS - hour)) for hour in range(HOURS + 1)]
    hours = values(column("first", Uuid), column("until", Uuid), name="hours").data([*pairwise(ends)]).cte()

    def count(*which: ColumnElement[bool]) -> ScalarSelect[int]:
        within = Delivery.id >= hours.c.first, Delivery.id < hours.c.until
        return select(func.count(Delivery.id)).where(*of_webhook, *within, *which).scalar_subquery()

    cancelled, failed = count(_NOT_DELIVERED, Delivery.state == CANCELLED), count(_NOT_DELIVERED, _IS_FAILED)
    pending, waits = _still_open(project_id, webhook_id, start)
    counted = select(count() - cancelled, failed, pending + waits).select_from(hours).order_by(hours.c.first)
    rows = session.execute(counted).all()
    bars = [row[0] for row in rows]
    return bars, sum(bars) - sum(row[1] for row in rows) - rows[0][2]


def _still_open(project_id: int, webhook_id: int | None, start: datetime) -> tuple[ScalarSelect[int], ...]:
    """How many of the 24 hours before are not over. Few are, so that the indexes of what is open lead to them."""
    within = Delivery.created_on >= start - timedelta(hours=HOURS), Delivery.created_on < start
    mine = [unindexed(Delivery.project_id) == project_id, *([Delivery.webhook_id == webhook_id] if webhook_id else [])]
    found = select(func.count(Delivery.id)).where(*within, *mine)
    asked = (_IS_PENDING, Delivery.lane.in_(LANES)), (_IS_WAITING,)
    return tuple(found.where(*which).scalar_subquery() for which in asked)


def _of(project_id: int, webhook_id: int | None) -> Conditions:
    if webhook_id is None:
        return (Delivery.project_id == project_id,)
    return (unindexed(Delivery.project_id) == project_id, Delivery.webhook_id == webhook_id)


def _hour_number(session: Session) -> ColumnElement[Any]:
    """Hours since 1970 of a delivery: times are microseconds on SQLite, timestamps on PostgreSQL."""
    if session.get_bind().dialect.name == "sqlite":
        return type_coerce(Delivery.created_on, BigInteger).op("/")(literal_column("3600000000"))
    return func.floor(func.extract("epoch", Delivery.created_on) / 3600)


def calls_of_day(session: Session, project_id: int, now: datetime, zone: tzinfo) -> tuple[Bar, ...]:
    """Calls by hour and result (store/history.RESULTS) since midnight of the project, beside those of yesterday."""
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    start, yesterday = midnight.astimezone(UTC), (midnight - timedelta(days=1)).astimezone(UTC)
    before = Counter[int]()
    for hour, _result, count in _calls_by_hour(session, project_id, yesterday, start):
        before[hour] += count
    bars = tuple(Bar(start + timedelta(hours=hour), Counter(), before[hour]) for hour in range(HOURS))
    for hour, result, count in _calls_by_hour(session, project_id, start, now):
        if 0 <= hour < HOURS:
            bars[hour].counts[result] += count
    return bars


def calls_yesterday_by_now(session: Session, project_id: int, now: datetime, zone: tzinfo) -> int:
    """How many calls there had been yesterday at this time of the day."""
    moment = now.astimezone(zone) - timedelta(days=1)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    rows = _ended_calls(project_id, midnight.astimezone(UTC), moment.astimezone(UTC))
    return session.scalar(select(func.count()).select_from(rows)) or 0


def _calls_by_hour(session: Session, project_id: int, start: datetime, end: datetime) -> list[tuple[int, str, int]]:
    """Hours since start, results, and how many calls of it."""
    rows = _ended_calls(project_id, start, end)
    if session.get_bind().dialect.name == "sqlite":
        since = type_coerce(rows.c.started_on, BigInteger) - int(start.timestamp()) * 1_000_000
        hour: ColumnElement[Any] = since // literal_column("3600000000", BigInteger)
    else:
        hour = func.floor((func.extract("epoch", rows.c.started_on) - int(start.timestamp())) / 3600)
    grouped = select(hour.label("hour"), rows.c.result, func.count()).group_by("hour", rows.c.result)
    return [(int(row[0]), row[1], row[2]) for row in session.execute(grouped)]


def _ended_calls(project_id: int, start: datetime, end: datetime) -> Subquery:
    """The newest MOST_ROWS of that time."""
    within = (Call.started_on >= start, Call.started_on < end, IS_OVER)
    query = select(Call.started_on, RESULT.label("result")).where(Call.project_id == project_id, *within)
    return query.order_by(Call.started_on.desc()).limit(MOST_ROWS).subquery()


def problems(session: Session, project_id: int) -> list[Problem]:
    """Unchecked failures, grouped by webhook and reason, the largest group first."""
    newest = (
        select(Delivery.webhook_id, Delivery.outcome, Delivery.status_code, Delivery.created_on)
        .where(Delivery.project_id == project_id, _IS_FAILED, Delivery.checked_on.is_(None))
        .order_by(Delivery.id.desc())
        .limit(MOST_PROBLEMS)
        .subquery()
    )
    grouped = (
        select(
            newest.c.webhook_id,
            newest.c.outcome,
            newest.c.status_code,
            func.count().label("failures"),
            func.min(newest.c.created_on).label("since"),
            func.max(newest.c.created_on).label("last"),
        )
        .group_by(newest.c.webhook_id, newest.c.outcome, newest.c.status_code)
        .order_by(func.count().desc())
        .limit(20)
        .subquery()
    )
    rows = session.execute(select(Webhook, grouped).join(grouped, grouped.c.webhook_id == Webhook.id))
    found = [Problem(row[0], row.outcome, row.status_code, row.failures, row.since, row.last) for row in rows]
    return sorted(found, key=lambda problem: -problem.count)


def count_unchecked(session: Session, project_id: int, most: int) -> int:
    """How many failures nobody has checked, up to most."""
    unchecked = (
        select(Delivery.id)
        .where(Delivery.project_id == project_id, _IS_FAILED, Delivery.checked_on.is_(None))
        .limit(most)
    )
    return session.scalar(select(func.count()).select_from(unchecked.subquery())) or 0


def waiting(session: Session, project_id: int) -> WaitingRetries:
    """Deliveries of the project that wait for another try, counted up to a thousand."""
    rows = (
        select(Delivery.due_at)
        .where(_IS_PENDING, Delivery.lane.in_(LANES), Delivery.tries > 0)
        .where(unindexed(Delivery.project_id) == project_id)
        .limit(1000)
        .subquery()
    )
    count, next_on = session.execute(select(func.count(), func.min(rows.c.due_at)).select_from(rows)).one()
    return WaitingRetries(count, next_on)


def paused(session: Session, project_id: int) -> Sequence[Webhook]:
    """Webhooks that keep what comes without sending it."""
    return session.scalars(
        select(Webhook).where(
            Webhook.project_id == project_id, Webhook.paused_on.is_not(None), Webhook.deleted_on.is_(None)
        )
    ).all()


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _share(counts: Counter[int], share: float) -> int | None:
    """The value that this share of all does not exceed."""
    wanted = share * counts.total()
    for value in sorted(counts):
        wanted -= counts[value]
        if wanted <= 0:
            return value
    return None
