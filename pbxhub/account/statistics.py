"""Figures of the last day for the strip, the bars and the dashboard. Deliveries are counted; how long they took is
measured on the newest MOST_TIMES of each hour, and the page says so."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Select,
    String,
    Uuid,
    case,
    cast,
    func,
    literal_column,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.orm import Session

from pbxhub.store.columns import each_of, unindexed
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, FAILED, LANES, Delivery
from pbxhub.store.history import IS_OVER, RESULT, Call
from pbxhub.store.ids import first_id_at
from pbxhub.store.webhooks import Webhook

MOST_CALLS = 200_000  # of two days
MOST_TIMES = 200  # of an hour: a percentile of 200 is near that of all
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
class DayOfCalls:
    """The calls of today. yesterday: how many there had been yesterday at this time of the day."""

    bars: tuple[Bar, ...]
    yesterday: int

    @property
    def total(self) -> int:
        return sum(bar.total for bar in self.bars)


@dataclass(frozen=True, slots=True)
class DayOfDeliveries:
    """The last 24 hours. sampled: some hour had more than MOST_TIMES, so that p50 and p95 (ms) are near the true ones.
    before: delivered in the 24 hours before."""

    bars: tuple[Bar, ...]
    delivered: int
    failed: int
    p50: int | None
    p95: int | None
    sampled: bool
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
    """Outcomes by hour and durations of the last 24 hours, of one webhook or of all. Counted in indexes: reading the
    rows of a busy day would take longer than everything else of a page."""
    start = hour_of(now) - timedelta(hours=HOURS - 1)
    hours = _states_by_hour(session, project_id, webhook_id, start - timedelta(hours=HOURS))
    before, today = hours[:HOURS], hours[HOURS:]
    bars = tuple(Bar(start + timedelta(hours=n), today[n], before[n].total()) for n in range(HOURS))
    states = sum(today, Counter[str]())
    times = _answer_times(session, project_id, webhook_id, bars)
    return DayOfDeliveries(
        bars, states[DELIVERED], states[FAILED], _share(times, 0.5), _share(times, 0.95),
        any(bar.total > MOST_TIMES for bar in bars), sum(hour[DELIVERED] for hour in before),
    )  # fmt: skip


def _states_by_hour(
    session: Session, project_id: int, webhook_id: int | None, start: datetime
) -> tuple[Counter[str], ...]:
    """How many deliveries of each state the 48 hours from start have, by the times in the ids. Delivered is what
    remains of all: no index has it, because nearly every delivery is."""
    hours = _hours(start, 2 * HOURS)

    def count(of: Conditions) -> ScalarSelect[int]:
        return select(func.count()).select_from(Delivery).where(*of, *_within(hours)).scalar_subquery()

    mine = _of(project_id, webhook_id)
    failed, cancelled = ((*_not_delivered(project_id, webhook_id), Delivery.state == s) for s in (FAILED, CANCELLED))
    counted = _of_each(hours, count(mine), count(failed), count(cancelled))
    found = _still_open(session, project_id, webhook_id, start)
    for states, (every, fails, cancels) in zip(found, session.execute(counted), strict=True):
        states[FAILED] = fails
        states[DELIVERED] = max(0, every - cancels - states.total())
    return found


def _still_open(session: Session, project_id: int, webhook_id: int | None, start: datetime) -> tuple[Counter[str], ...]:
    """The deliveries of each hour that are not over. Few are, so that the indexes of what is open lead to them."""
    mine = [unindexed(Delivery.project_id) == project_id, *([Delivery.webhook_id == webhook_id] if webhook_id else [])]
    opened = select(_hours_since(session, 0, Delivery.created_on).label("hour"), Delivery.state).where(
        Delivery.created_on >= start, *mine
    )
    rows = union_all(opened.where(_IS_PENDING, Delivery.lane.in_(LANES)), opened.where(_IS_WAITING)).subquery()
    found = tuple(Counter[str]() for _hour in range(2 * HOURS))
    grouped = select(rows.c.hour, rows.c.state, func.count()).group_by(rows.c.hour, rows.c.state)
    for number, state, count in session.execute(grouped):
        found[min(int(number), len(found) - 1)][state] = count
    return found


def _answer_times(
    session: Session, project_id: int, webhook_id: int | None, bars: Sequence[Bar]
) -> list[tuple[int, float]]:
    """Durations in ms of the newest MOST_TIMES of each hour, ascending, each with how many deliveries it stands for."""
    hours = _hours(bars[0].start, HOURS)
    newest = (
        select(Delivery.duration_ms)
        .where(*_of(project_id, webhook_id), *_within(hours), Delivery.duration_ms.is_not(None))
        .order_by(Delivery.id.desc())
        .limit(MOST_TIMES)
        .correlate(hours)
        .subquery()
    )
    joined = select(func.aggregate_strings(cast(newest.c.duration_ms, String), " ")).scalar_subquery()
    found = []
    for bar, (text,) in zip(bars, session.execute(_of_each(hours, joined)), strict=True):
        times = [int(each) for each in (text or "").split()]
        each_for = max(1, bar.total / len(times)) if times else 1
        found += [(time, each_for) for time in times]
    return sorted(found)


def _hours(start: datetime, count: int) -> CTE:
    """The first id of each hour and of the next one; one row more, the last, which has no next one."""
    ends = each_of([first_id_at(start + timedelta(hours=hour)) for hour in range(count + 1)], Uuid()).c.value
    return select(ends.label("first"), func.lead(ends).over(order_by=ends).label("until")).cte("hours")


def _of_each(hours: CTE, *what: ScalarSelect[Any]) -> Select[Any]:
    return select(*what).select_from(hours).where(hours.c.until.is_not(None)).order_by(hours.c.first)


def _within(hours: CTE) -> Conditions:
    return Delivery.id >= hours.c.first, Delivery.id < hours.c.until


def _not_delivered(project_id: int, webhook_id: int | None) -> Conditions:
    """The index of these leads to them, whichever webhook it is."""
    mine = Delivery.project_id == project_id, _NOT_DELIVERED
    return mine if webhook_id is None else (*mine, unindexed(Delivery.webhook_id) == webhook_id)


def _of(project_id: int, webhook_id: int | None) -> Conditions:
    if webhook_id is None:
        return (Delivery.project_id == project_id,)
    return (unindexed(Delivery.project_id) == project_id, Delivery.webhook_id == webhook_id)


def _hours_since(session: Session, start: Any, moment: Any) -> ColumnElement[Any]:
    """Whole hours from start (seconds since 1970): times are microseconds on SQLite, timestamps on PostgreSQL. There in
    floating point: the exact decimals of extract() take twice the time."""
    if session.get_bind().dialect.name == "sqlite":
        since: ColumnElement[Any] = type_coerce(moment, BigInteger) - start * 1_000_000
        return since // literal_column("3600000000", BigInteger)
    return func.floor((func.date_part("epoch", moment) - start) / literal_column("3600"))


def calls_of_day(session: Session, project_id: int, now: datetime, zone: tzinfo) -> DayOfCalls:
    """Calls by hour and result (store/history.RESULTS) since midnight of the project, beside those of yesterday."""
    moment = now.astimezone(zone)
    midnight, by_now = moment.replace(hour=0, minute=0, second=0, microsecond=0), moment - timedelta(days=1)
    days = (midnight - timedelta(days=1)).astimezone(UTC), midnight.astimezone(UTC)
    today: defaultdict[int, Counter[str]] = defaultdict(Counter)
    before: defaultdict[int, Counter[str]] = defaultdict(Counter)
    yesterday = 0
    rows = _calls_by_hour(session, project_id, days, now, by_now.astimezone(UTC))
    for is_today, hour, result, count, earlier in rows:
        (today if is_today else before)[hour][result] += count
        yesterday += earlier
    bars = (Bar(days[1] + timedelta(hours=hour), today[hour], before[hour].total()) for hour in range(HOURS))
    return DayOfCalls(tuple(bars), yesterday)


def _calls_by_hour(
    session: Session, project_id: int, days: tuple[datetime, datetime], end: datetime, by_now: datetime
) -> Iterator[tuple[bool, int, str, int, int]]:
    """Calls that are over, by day: whether it is the second one, hours since its beginning, the result, how many calls,
    how many of them before by_now. Of more than MOST_CALLS the newest."""
    within = (Call.started_on >= days[0], Call.started_on < end, IS_OVER)
    newest = select(Call.started_on, RESULT.label("result")).where(Call.project_id == project_id, *within)
    rows = newest.order_by(Call.started_on.desc()).limit(MOST_CALLS).subquery()
    is_today = rows.c.started_on >= days[1]
    first, second = (int(day.timestamp()) for day in days)
    hour = _hours_since(session, case((is_today, second), else_=first), rows.c.started_on)
    earlier = func.count().filter(rows.c.started_on < by_now)
    columns = is_today.label("is_today"), hour.label("hour"), rows.c.result
    for row in session.execute(select(*columns, func.count(), earlier).group_by("is_today", "hour", rows.c.result)):
        yield row[0], int(row[1]), row[2], row[3], row[4]


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


def hour_of(moment: datetime) -> datetime:
    """The beginning of its hour."""
    return moment.replace(minute=0, second=0, microsecond=0)


def _share(times: Sequence[tuple[int, float]], share: float) -> int | None:
    """The value that this share of all does not exceed. times: ascending, each with how many have it."""
    wanted = share * sum(count for _time, count in times)
    for value, count in times:
        wanted -= count
        if wanted <= 0:
            return value
    return times[-1][0] if times else None
