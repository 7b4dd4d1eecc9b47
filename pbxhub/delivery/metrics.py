"""Metrics for Prometheus: the attempts of this process, and the deliveries that wait in the database."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.claimed import Claimed
from pbxhub.sending.exchange import Answer
from pbxhub.store.columns import UtcDateTime
from pbxhub.store.delivery_rows import BULK, FIRST_ATTEMPTS, LANES, RETRIES
from pbxhub.store.listeners import pbxs_by_host

_LANE_NAMES = {FIRST_ATTEMPTS: "first", RETRIES: "retry", BULK: "bulk"}
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class WorkerMetrics:
    """Counts the attempts of this process: pbxhub_attempts_total and pbxhub_attempt_seconds, per lane."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        own = registry or CollectorRegistry()
        self._ended = Counter("pbxhub_attempts", "Requests that ended", ["lane", "outcome"], registry=own)
        self._seconds = Histogram(
            "pbxhub_attempt_seconds", "Duration of requests", ["lane"], buckets=_SECONDS, registry=own
        )
        self._children: dict[tuple[int, str], tuple[Counter, Histogram]] = {}  # labels() is slow

    def ended(self, claimed: Claimed, answer: Answer) -> None:
        key = (claimed.lane, answer.outcome)
        if key not in self._children:
            lane = _LANE_NAMES[claimed.lane]
            self._children[key] = (self._ended.labels(lane, answer.outcome), self._seconds.labels(lane))
        counter, seconds = self._children[key]
        counter.inc()
        if answer.total_us is not None:
            seconds.observe(answer.total_us / 1e6)


class QueueMetrics(Collector):
    """Queries the database on each scrape. Register it in one process only. Scrapes fail while the database is away."""

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context

    def describe(self) -> Iterable[Metric]:
        return _families({}, {}, self._context.clock())

    def collect(self) -> Iterator[Metric]:
        now = self._context.clock()
        with self._context.database.read() as session:
            lanes, hosts = _backlog(session, now), pbxs_by_host(session)
        yield from _families(lanes, hosts, now)


def _families(lanes: "dict[int, Backlog]", hosts: dict[str, int], now: datetime) -> list[Metric]:
    due = GaugeMetricFamily("pbxhub_deliveries_due", "Deliveries that should be sent now", labels=["lane"])
    flying = GaugeMetricFamily("pbxhub_deliveries_in_flight", "Deliveries that are being sent", labels=["lane"])
    later = GaugeMetricFamily(
        "pbxhub_deliveries_later", "Deliveries waiting for a retry, a stage, a resume or a token", labels=["lane"]
    )
    oldest = GaugeMetricFamily("pbxhub_oldest_due_seconds", "How long the oldest due delivery waits", labels=["lane"])
    for lane, numbers in lanes.items():
        label = [_LANE_NAMES[lane]]
        due.add_metric(label, numbers.due)
        flying.add_metric(label, numbers.in_flight)
        later.add_metric(label, numbers.later)
        oldest.add_metric(label, (now - numbers.oldest_due).total_seconds() if numbers.oldest_due else 0.0)
    listened = GaugeMetricFamily("pbxhub_pbxs", "PBXs that a host listens to, where hosts share them", labels=["host"])
    for host, number in hosts.items():
        listened.add_metric([host], number)
    return [due, flying, later, oldest, listened]


@dataclass(frozen=True, slots=True)
class Backlog:
    """The pending deliveries of one lane. due: should be sent now. in_flight: claimed. later: wait for their time, for
    the stage before, or until their webhook is resumed or its connection has a token. oldest_due: since when
    the longest of the due ones waits."""

    due: int
    in_flight: int
    later: int
    oldest_due: datetime | None


_NOTHING = Backlog(0, 0, 0, None)
_QUERY = (
    text("""
    SELECT d.lane,
           sum(CASE WHEN NOT w.waits AND d.due_at <= :now THEN 1 ELSE 0 END) AS due,
           sum(CASE WHEN d.claim_token IS NOT NULL AND d.due_at > :now THEN 1 ELSE 0 END) AS in_flight,
           sum(CASE WHEN w.waits OR (d.claim_token IS NULL AND d.due_at > :now) THEN 1 ELSE 0 END) AS later,
           min(CASE WHEN NOT w.waits AND d.due_at <= :now THEN d.due_at END) AS oldest_due
      FROM delivery d
      JOIN (SELECT webhook.id, paused_on IS NOT NULL OR connection.id IS NOT NULL
                   AND (ready_until IS NULL OR ready_until <= :now) AS waits
              FROM webhook LEFT JOIN connection ON connection.id = webhook.connection_id) w ON w.id = d.webhook_id
     WHERE d.state = 'pending' GROUP BY d.lane""")
    .bindparams(bindparam("now", type_=UtcDateTime()))
    .columns(oldest_due=UtcDateTime())
)


def _backlog(session: Session, now: datetime) -> dict[int, Backlog]:
    """Of each lane, over all projects."""
    rows = {row.lane: row for row in session.execute(_QUERY, {"now": now})}
    return {
        lane: Backlog(row.due, row.in_flight, row.later, row.oldest_due) if (row := rows.get(lane)) else _NOTHING
        for lane in LANES
    }
