"""One run of one scenario file by the monitor, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pbxhub.testing.monitor.plan import Planned

Outcome = Literal["passed", "skipped", "failed", "timeout", "error"]
_GRACE = 10.0  # seconds that an interrupted scenario has for hanging up and cleaning up
_OUTCOME_OF_EXIT: dict[int, Outcome] = {0: "passed", 1: "failed"}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one planned file. agents: what each agent measured, as in the JSON lines of `scenario run`."""

    name: str
    outcome: Outcome
    started_on: datetime
    seconds: float
    messages: tuple[str, ...]
    agents: tuple[dict[str, Any], ...] = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "outcome": self.outcome,
            "started_on": self.started_on.isoformat(timespec="seconds"),
            "seconds": self.seconds,
            "messages": list(self.messages),
            "agents": list(self.agents),
        }


def run_once(planned: Planned, started_on: datetime) -> Run:
    """Runs the file in a process of its own; after the timeout it is interrupted, then killed."""
    command = [sys.executable, "-m", "pbxhub.testing", "scenario", "run", str(planned.file), "--json"]
    command += ["--timeout", f"{max(1, round(planned.timeout * 1000))}ms"]
    command += [f"--tag={tag}" for tag in planned.tags] + [f"--env-file={file}" for file in planned.env_files]
    began = time.monotonic()
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = child.communicate(timeout=planned.timeout)
        outcome: Outcome = _OUTCOME_OF_EXIT.get(child.returncode, "error")
    except subprocess.TimeoutExpired:
        output, errors = _interrupt(child)
        outcome = "timeout"
    except BaseException:  # the monitor itself is being stopped
        _interrupt(child)
        raise
    events = _events(output)
    messages = tuple(event["message"] for event in events if event.get("message"))
    if outcome == "timeout":
        messages = (f"not finished after {planned.timeout:g}s and stopped", *messages)
    elif outcome == "error" and not messages:
        messages = (errors.strip()[-2000:],)
    elif outcome == "passed" and not any(event.get("outcome") == "passed" for event in events):
        outcome, messages = "skipped", ("nothing was tried: every scenario of the file was skipped", *messages)
    agents = tuple(agent for event in events for agent in event.get("agents", ()))
    return Run(planned.name, outcome, started_on, round(time.monotonic() - began, 3), messages, agents)


def _interrupt(child: subprocess.Popen[str]) -> tuple[str, str]:
    child.send_signal(signal.SIGINT)  # pytest then runs the fixtures' clean-up
    try:
        return child.communicate(timeout=_GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return child.communicate()


def _events(output: str) -> list[dict[str, Any]]:
    """The JSON lines, without an incomplete last line after a kill."""
    events = []
    for line in output.splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return [event for event in events if isinstance(event, dict)]
