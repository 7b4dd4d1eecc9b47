"""The monitor's metrics for Prometheus."""

from collections import defaultdict
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from pbxhub.testing.monitor.plan import Plan
from pbxhub.testing.monitor.run import Outcome, Run


class Metrics:
    """The figures for Prometheus, one series per planned scenario (and per agent of it)."""

    def __init__(self, plan: Plan) -> None:
        self.registry = CollectorRegistry()
        one, each = ["scenario"], ["scenario", "agent"]
        self._runs = Counter(
            "pbxhub_monitor_runs", "Runs by outcome.", [*one, "outcome"], registry=self.registry
        )  # fmt: skip
        self._up = self._gauge("up", "1 when the last run passed; 0 too when it tried nothing.", one)
        self._last = self._gauge("last_run_timestamp_seconds", "When the last run began.", one)
        self._success = self._gauge("last_success_timestamp_seconds", "When the last run that passed began.", one)
        self._duration = self._gauge("duration_seconds", "How long the last run took.", one)
        self._of_agents = {
            "registered": self._gauge("agent_registered", "1 when the agent registered in the last run.", each),
            "mos": self._gauge("agent_mos", "Mean opinion score (1 to 4.5) of what the agent heard.", each),
            "jitter_ms": self._gauge("agent_jitter_milliseconds", "Jitter of what the agent heard.", each),
            "loss_percent": self._gauge("agent_loss_percent", "Lost packets of what the agent heard.", each),
        }
        self._agents: dict[str, set[str]] = defaultdict(set)  # every agent that a scenario has ever measured
        self._registering: dict[str, set[str]] = defaultdict(set)  # those with an account
        for planned in plan.scenarios:
            for outcome in get_args(Outcome):
                self._runs.labels(planned.name, outcome)

    def record(self, run: Run) -> None:
        began = run.started_on.timestamp()
        self._runs.labels(run.name, run.outcome).inc()
        self._up.labels(run.name).set(run.outcome == "passed")
        self._last.labels(run.name).set(began)
        self._duration.labels(run.name).set(run.seconds)
        if run.outcome == "passed":
            self._success.labels(run.name).set(began)
        self._forget_agents(run.name)
        for agent in run.agents:
            self._agents[run.name].add(agent["name"])
            if agent.get("registered") is not None:
                self._registering[run.name].add(agent["name"])
            for key, gauge in self._of_agents.items():
                if agent.get(key) is not None:
                    gauge.labels(run.name, agent["name"]).set(float(agent[key]))

    def _forget_agents(self, scenario: str) -> None:
        """Figures of an earlier run say nothing of this one. Who registered then has not yet: alerts want a 0."""
        for agent in self._agents[scenario]:
            for gauge in self._of_agents.values():
                gauge.remove(scenario, agent)
        for agent in self._registering[scenario]:
            self._of_agents["registered"].labels(scenario, agent).set(0)

    def _gauge(self, name: str, meaning: str, labels: list[str]) -> Gauge:
        return Gauge(f"pbxhub_monitor_{name}", meaning, labels, registry=self.registry)
