"""Runs scenario files: pytest underneath, with what a scenario needs switched on."""

import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from os.path import commonpath, devnull
from pathlib import Path
from typing import Any, TextIO

import pytest

from pbxhub.testing.durations import limit

PASSED, FAILED, MISUSED, NONE_FOUND = 0, 1, 4, 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to run and what to leave behind. Tags are pytest marks; name is a part of a scenario's name."""

    files: tuple[Path, ...]
    tags: tuple[str, ...] = ()
    without_tags: tuple[str, ...] = ()
    name: str = ""
    env_files: tuple[Path, ...] = ()
    timeout: str = "2m"  # of one scenario
    junit: Path | None = None
    sip_trace: Path | None = None
    save_audio: Path | None = None
    asterisk: int = 22
    database: str = "sqlite"


def run_scenarios(wanted: Wanted, lines: TextIO | None = None) -> int:
    """Runs them one after another and returns PASSED, FAILED, MISUSED or NONE_FOUND.

    lines: where one JSON object per event goes; the report for people then goes to stderr.
    """
    plugins = [JsonLines(lines)] if lines else []
    with redirect_stdout(sys.stderr) if lines else redirect_stdout(sys.stdout):
        code = int(pytest.main(list(_arguments(wanted)), plugins=plugins))
    return code if code in (PASSED, NONE_FOUND, MISUSED) else FAILED


def _arguments(wanted: Wanted) -> Iterator[str]:
    folders = sorted({str(file.resolve().parent) for file in wanted.files})
    yield from (str(file) for file in wanted.files)
    yield from ("-c", devnull, f"--rootdir={commonpath(folders)}", "--import-mode=importlib", "--tb=short", "-q")
    yield from ("--disable-plugin-autoload", "-p", "pytest_timeout", "-p", "pbxhub.testing.plugin")
    yield from ("-p", "no:cacheprovider", "-W", "ignore::pytest.PytestUnknownMarkWarning")
    yield from ("-o", f"pythonpath={shlex.join(folders)}", "-o", "python_functions=test scenario")
    yield f"--timeout={limit(wanted.timeout)}"
    tags = [*wanted.tags, *(f"not {tag}" for tag in wanted.without_tags)]
    if tags:
        yield from ("-m", " and ".join(tags))
    if wanted.name:
        yield from ("-k", wanted.name)
    yield from (f"--pbxhub-asterisk={wanted.asterisk}", f"--pbxhub-database={wanted.database}")
    yield from (f"--pbxhub-env-file={file}" for file in wanted.env_files)
    for option, path in (
        ("--junitxml", wanted.junit),
        ("--pbxhub-sip-trace", wanted.sip_trace),
        ("--pbxhub-save-audio", wanted.save_audio),
    ):
        if path:
            yield f"{option}={path.resolve()}"


@dataclass(slots=True)
class JsonLines:
    """A pytest plugin that writes one JSON object per line: start, each scenario, files that cannot be read, end."""

    out: TextIO
    counts: dict[str, int] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    _tags: dict[str, list[str]] = field(default_factory=dict)
    _failed: dict[str, pytest.TestReport] = field(default_factory=dict)
    _seconds: dict[str, float] = field(default_factory=dict)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._tags = {item.nodeid: sorted({mark.name for mark in item.iter_markers()}) for item in session.items}
        self._write(event="start", scenarios=[item.nodeid for item in session.items])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._count("error")
            self._write(event="error", file=report.nodeid, message=report.longreprtext)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid
        self._seconds[name] = self._seconds.get(name, 0.0) + report.duration
        if not report.passed:
            self._failed.setdefault(name, report)
        if report.when == "teardown":
            self._scenario(report, self._failed.pop(name, None))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._write(event="end", **self.counts, exit_code=int(exitstatus), seconds=_rounded(self.began))

    def _scenario(self, last: pytest.TestReport, failed: pytest.TestReport | None) -> None:
        outcome = _outcome(failed)
        self._count(outcome)
        file, line, _ = last.location
        self._write(
            event="scenario",
            name=last.nodeid,
            outcome=outcome,
            seconds=round(self._seconds.pop(last.nodeid), 3),
            file=file,
            line=(line or 0) + 1,
            tags=self._tags.get(last.nodeid, []),
            message=_message(failed),
            agents=[value for key, value in last.user_properties if key == "agent"],
        )

    def _count(self, outcome: str) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + 1

    def _write(self, **event: Any) -> None:
        print(json.dumps(event, ensure_ascii=False, default=str), file=self.out, flush=True)


def _outcome(failed: pytest.TestReport | None) -> str:
    if failed is None:
        return "passed"
    if failed.skipped:
        return "skipped"
    return "failed" if failed.when == "call" else "error"


def _message(failed: pytest.TestReport | None) -> str:
    if failed is None:
        return ""
    if isinstance(failed.longrepr, tuple):  # a skip: file, line, reason
        return str(failed.longrepr[2])
    crash = getattr(failed.longrepr, "reprcrash", None)
    return f"{crash.message} ({crash.path}:{crash.lineno})" if crash else failed.longreprtext


def _rounded(began: float) -> float:
    return round(time.monotonic() - began, 3)
