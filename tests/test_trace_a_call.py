"""An operator follows a call in OpenTelemetry: from Asterisk's event over the saved stage to the request."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pbxhub.delivery.outbox import publish
from pbxhub.delivery.traces import Traces
from pbxhub.delivery.worker import Worker
from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.engine import Engine
from pbxhub.store.session import Database
from pbxhub.testing.processes import free_port
from pbxhub.testing.receivers.receiver import Receiver, Reply
from tests.support.outbox_world import AFTER, BEFORE, World, at, context_of, report, spec
from tests.support.waiting import wait_until


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP, as a collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Otlp)
        self.spans: list[Span] = []
        self.resources: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def named(self, name: str) -> list[Span]:
        return [span for span in tuple(self.spans) if span.name == name]


class _Otlp(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
        asked = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in asked.resource_spans:
            self.server.resources |= {each.value.string_value for each in resource.resource.attributes}
            self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def values(span: Span) -> dict[str, object]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_stage_and_attempts_are_one_trace_without_anything_secret(database: Database, collector: Collector) -> None:
    traces, context, world = Traces(collector.url), context_of(database), World(database)
    guard = AddressGuard((ip_network("127.0.0.0/8"),))
    with Receiver(lambda request: Reply(200 if "good" in request.path else 400)) as receiver:
        for path in ("good?token=s3cret", "bad?token=s3cret"):
            world.webhook(what=spec(f"{receiver.url}/{path}"))
        published = publish(context, {world.pbx_id: [report("1.1", BEFORE)]}, at(1))
        traces.stages(published.new, at(2))
        worker = Worker(context, Engine(guard), traces=traces)
        worker.start()
        wait_until(lambda: receiver.count == 2)
        worker.stop()
    traces.stop()
    [stage], attempts = collector.named(BEFORE), collector.named("attempt")
    [new] = published.new
    assert UUID(bytes=stage.trace_id) == new.id
    assert stage.parent_span_id == b""
    assert (stage.end_time_unix_nano - stage.start_time_unix_nano) / 1e9 == (at(2) - new.stage.time).total_seconds()
    assert {span.trace_id for span in attempts} == {stage.trace_id}
    assert {span.parent_span_id for span in attempts} == {stage.span_id}
    assert len({span.span_id for span in attempts}) == 2
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in attempts)
    assert sorted(values(span)["pbxhub.outcome"] for span in attempts) == ["http_4xx", "ok"]
    assert {values(span)["http.response.status_code"] for span in attempts} == {200, 400}
    assert {values(span)["pbxhub.delivery"] for span in attempts} == {str(row.id) for row in world.deliveries()}
    assert {"pbxhub"} <= collector.resources
    assert "s3cret" not in str(collector.spans)


def test_a_stage_that_is_reported_again_is_not_traced_again(database: Database) -> None:
    context, world = context_of(database), World(database)
    assert len(publish(context, {world.pbx_id: [report("1.1", BEFORE)]}, at(1)).new) == 1
    assert publish(context, {world.pbx_id: [report("1.1", BEFORE)]}, at(2)).new == ()
    assert len(publish(context, {world.pbx_id: [report("1.1", AFTER)]}, at(3)).new) == 1


@pytest.mark.slow
def test_a_collector_that_is_away_delays_nothing(database: Database) -> None:
    traces, context, world = Traces("http://127.0.0.1:9"), context_of(database), World(database)
    with Receiver() as receiver:
        world.webhook(what=spec(receiver.url))
        publish(context, {world.pbx_id: [report("1.1", BEFORE)]}, at(1))
        worker = Worker(context, Engine(AddressGuard((ip_network("127.0.0.0/8"),))), traces=traces)
        worker.start()
        wait_until(lambda: receiver.count == 1)
        worker.stop()
    traces.stop()


def variables(tmp_path: Path, **more: str) -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("PBXHUB_")}
    return given | {"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_AGI": "", **more}


@pytest.mark.slow
def test_without_the_extra_the_start_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; from pbxhub.cli import main; main(['check'])"
    given = variables(tmp_path, PBXHUB_OTLP="http://127.0.0.1:4318")
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True)
    assert (done.returncode, "PBXHUB_OTLP: OpenTelemetry is not installed" in done.stderr) == (1, True), done.stderr
    assert "pip install 'pbxhub[otel]'" in done.stderr


@pytest.mark.slow
def test_the_demo_traces_its_calls_from_the_pbx_to_the_receiver(tmp_path: Path, collector: Collector) -> None:
    given = variables(tmp_path, PBXHUB_OTLP=collector.url, PBXHUB_PORT=str(free_port(2)))
    with subprocess.Popen([sys.executable, "-m", "pbxhub", "run", "--demo"], env=given) as hub:
        try:
            wait_until(lambda: len(collector.named("attempt")) > 2, "calls are traced", 100)
        finally:
            hub.terminate()
    stages = {span.trace_id: span for span in collector.spans if not span.parent_span_id}
    attempts = [span for span in collector.named("attempt") if span.trace_id in stages]
    assert len(attempts) > 2
    assert all(span.parent_span_id == stages[span.trace_id].span_id for span in attempts)
    assert all(stages[span.trace_id].start_time_unix_nano < span.start_time_unix_nano for span in attempts)
