"""A synthetic monitor: scenarios on a schedule, one at a time, each in a process of its own, with metrics."""

import os
import queue
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime

from flask import Flask, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from werkzeug.exceptions import HTTPException

from pbxhub.http_server import serving
from pbxhub.testing.monitor.metrics import Metrics
from pbxhub.testing.monitor.plan import Plan, PlanError, Planned
from pbxhub.testing.monitor.run import Run, run_once


def run_monitor(plan: Plan, listening: Callable[[str], None]) -> None:
    """Runs until SIGTERM or SIGINT. listening: called with the address of the metrics. Raises PlanError if the port is
    in use."""
    monitor = Monitor(plan)
    try:
        listening_on = socket.create_server((plan.host, plan.port))
    except OSError as error:
        raise PlanError(
            f'listen = "{plan.host}:{plan.port}": {os.strerror(error.errno or 0)}: choose another port'
        ) from None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with serving(monitor_app(monitor), listening_on, threads=4, name="monitor-web"), suppress(KeyboardInterrupt):
        listening(f"http://{plan.host}:{listening_on.getsockname()[1]}")
        monitor.follow()


class Monitor:
    """Knows the plan, runs one scenario at a time and keeps the metrics. One thread follows; others may ask."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.metrics = Metrics(plan)
        self.running: str | None = None
        self._asked: queue.SimpleQueue[tuple[Planned, Future[Run]]] = queue.SimpleQueue()

    def follow(self) -> None:
        """Runs what is due and what is asked for, until an exception. What fell due meanwhile is run once, after it."""
        due = {one: one.next_due(self._now()) for one in self.plan.scenarios}
        while True:
            planned = min(due, key=lambda one: due[one])
            asked = self._asked_before(due[planned])
            if asked:
                asked[1].set_result(self._run(asked[0]))
            else:
                self._run(planned)
                due[planned] = planned.next_due(self._now())

    def run_now(self, planned: Planned) -> Run | None:
        """Has it run at once by the thread that follows, and waits for it. None when another one is running."""
        if self.running or not self._asked.empty():
            return None
        done: Future[Run] = Future()
        self._asked.put((planned, done))
        return done.result()

    def _run(self, planned: Planned) -> Run:
        self.running = planned.name
        try:
            run = run_once(planned, self._now())
        finally:
            self.running = None
        self.metrics.record(run)
        return run

    def _asked_before(self, due: datetime) -> tuple[Planned, Future[Run]] | None:
        """Waits for somebody to ask, until `due`."""
        try:
            return self._asked.get(timeout=max(0.0, (due - self._now()).total_seconds()))
        except queue.Empty:
            return None

    def _now(self) -> datetime:
        return datetime.now(self.plan.zone)


def monitor_app(monitor: Monitor) -> Flask:
    """GET /metrics, GET /healthz, POST /run/NAME. Errors are JSON too."""
    app = Flask(__name__)
    by_name = {planned.name: planned for planned in monitor.plan.scenarios}

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(monitor.metrics.registry), content_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok", running=monitor.running, scenarios=sorted(by_name))

    @app.post("/run/<name>")
    def run(name: str) -> tuple[Response, int]:
        if name not in by_name:
            return jsonify(error=f"there is no scenario {name}; there are {', '.join(sorted(by_name))}"), 404
        done = monitor.run_now(by_name[name])
        if done is None:
            return jsonify(error=f"{monitor.running} is running, and scenarios run one at a time: try again"), 409
        return jsonify(done.as_json()), 200 if done.outcome == "passed" else 500

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=error.description), error.code or 500

    return app
