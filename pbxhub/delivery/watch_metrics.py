"""Metrics for Prometheus: the PBXs and the parts of the hub, as the database knows them, and a listener's memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pbxhub.delivery.context import DeliveryContext
from pbxhub.store.accounts import Pbx, enabled_pbxs, is_connected
from pbxhub.store.history import open_calls
from pbxhub.store.parts import parts_seen


class WatchMetrics(Collector):
    """Queries the database on each scrape, as QueueMetrics does."""

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context

    def describe(self) -> Iterable[Metric]:
        return [*_of_pbxs((), {}, self._context.clock()), _of_parts({}, self._context.clock())]

    def collect(self) -> Iterator[Metric]:
        now = self._context.clock()
        with self._context.database.read() as session:
            rows = enabled_pbxs(session)
            calls = open_calls(session, [row.id for row in rows])
            parts = parts_seen(session)
        yield from _of_pbxs(rows, calls, now)
        yield _of_parts(parts, now)


class ListenerMetrics(Collector):
    """What the listener of this process holds in memory. waiting: asks for the number of stages."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "pbxhub_stages_waiting", "Stages of this listener that are not in the database yet", value=self._waiting()
        )


def _of_pbxs(rows: Sequence[Pbx], calls: dict[int, int], now: datetime) -> list[Metric]:
    labels = ["pbx", "project", "id"]
    connected = GaugeMetricFamily("pbxhub_pbx_connected", "1 while the hub hears this PBX, 0 otherwise", labels=labels)
    silent = GaugeMetricFamily(
        "pbxhub_pbx_last_event_seconds", "Seconds since the newest event of this PBX", labels=labels
    )
    live = GaugeMetricFamily("pbxhub_calls_live", "Calls in progress on this PBX", labels=labels)
    for row in rows:
        label = [row.name, row.project.name, str(row.id)]
        connected.add_metric(label, is_connected(row, now))
        live.add_metric(label, calls.get(row.id, 0))
        if row.last_event_on:
            silent.add_metric(label, (now - row.last_event_on).total_seconds())
    return [connected, silent, live]


def _of_parts(parts: dict[str, datetime], now: datetime) -> Metric:
    seen = GaugeMetricFamily("pbxhub_part_seen_seconds", "Seconds since this part was seen working", labels=["part"])
    for name, seen_on in parts.items():
        seen.add_metric([name], (now - seen_on).total_seconds())
    return seen
