"""An operator watches the deliveries in Prometheus and Grafana."""

import json
import re
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from pbxhub.delivery.metrics import QueueMetrics, WorkerMetrics
from pbxhub.delivery.renewals import RenewalMetrics
from pbxhub.delivery.watch_metrics import ListenerMetrics, WatchMetrics
from pbxhub.store.session import Database
from tests.support.outbox_world import context_of

MONITORING = Path(__file__).resolve().parents[1] / "docs" / "monitoring"
NAME = re.compile(r"pbxhub_[a-z_]+")


def test_dashboard_and_documentation_name_exactly_the_metrics_there_are(database: Database) -> None:
    registry = CollectorRegistry()
    registry.register(QueueMetrics(context_of(database)))
    registry.register(WatchMetrics(context_of(database)))
    registry.register(ListenerMetrics(lambda: 0))
    WorkerMetrics(registry)
    RenewalMetrics(registry)
    there = set(
        re.findall(r"^# TYPE (pbxhub_\w+) (?:counter|gauge|histogram)$", generate_latest(registry).decode(), re.M)
    )
    there -= {name for name in there if name.endswith("_created")}
    documented = set(NAME.findall((MONITORING / "README.md").read_text()))
    panels = json.loads((MONITORING / "grafana-deliveries.json").read_text())["panels"]
    shown = {name.removesuffix("_bucket") for p in panels for t in p["targets"] for name in NAME.findall(t["expr"])}
    assert documented == there
    assert shown == there
