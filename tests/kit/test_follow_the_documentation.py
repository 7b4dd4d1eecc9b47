"""Somebody copies the examples of docs/testing and runs them."""

import io
import json
import re
from pathlib import Path

import pytest

from pbxhub import testing
from pbxhub.testing import plugin
from pbxhub.testing.monitor.plan import read_plan
from pbxhub.testing.phones.softphone import Consultation
from pbxhub.testing.scenario import Wanted, run_scenarios

PAGES = sorted((Path(__file__).parents[2] / "docs" / "testing").glob("*.md"))
EXAMPLE = re.compile(r"^```(python(?: asterisk)?|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def examples(kind: str) -> list[tuple[str, str]]:
    """Name and text of every example of that kind."""
    found = []
    for page in PAGES:
        texts = [text for mark, text in EXAMPLE.findall(page.read_text()) if mark == kind]
        found += [(f"{page.stem}-{number}", text) for number, text in enumerate(texts, 1)]
    return found


def outcomes(folder: Path, kind: str) -> dict[str, str]:
    """Runs all examples of a kind in one run; what did not pass, with its message."""
    for name, text in examples(kind):
        (folder / f"{name.replace('-', '_')}.py").write_text(text)
    lines = io.StringIO()
    run_scenarios(Wanted(tuple(sorted(folder.glob("*.py")))), lines)
    events = [json.loads(line) for line in lines.getvalue().splitlines()]
    ran = [event for event in events if event["event"] == "scenario"]
    assert len(ran) >= len(examples(kind)), events
    return {event["name"]: event["message"] for event in ran if event["outcome"] != "passed"}


@pytest.mark.slow
def test_every_example_runs(tmp_path):
    assert len(examples("python")) >= 15
    assert outcomes(tmp_path, "python") == {}


@pytest.mark.asterisk
def test_every_example_with_a_real_pbx_runs(tmp_path):
    assert len(examples("python asterisk")) >= 5
    assert outcomes(tmp_path, "python asterisk") == {}


def test_the_monitor_file_is_read(tmp_path):
    ((_, text),) = examples("toml")
    for name in ("accounts.env", "incoming.py"):
        (tmp_path / name).touch()
    (tmp_path / "monitor.toml").write_text(text)
    plan = read_plan(tmp_path / "monitor.toml")
    assert [one.name for one in plan.scenarios] == ["incoming"]


def test_every_name_of_the_kit_is_documented():
    written = "\n".join(page.read_text() for page in PAGES)
    words = set(re.findall(r"\w+", written))
    fixtures = {name for name in vars(plugin) if not name.startswith("pytest") and _is_fixture(name)}
    undocumented = ({*testing.__all__} | fixtures) - words - INTERNAL
    assert undocumented == set()


INTERNAL = {
    "CaptureFailedError", "Expectation", "MockAnswer", "ProgramMissingError", "asterisk_of_the_run", "capturing",
    "measure", "postgres_server",
}  # fmt: skip


def _is_fixture(name: str) -> bool:
    return type(getattr(plugin, name)).__name__ == "FixtureFunctionDefinition"


VERBS = (
    testing.Agent, Consultation, testing.Expectation, testing.HttpAnswer, testing.MockRequest, testing.MockServer,
)  # fmt: skip
BEHIND_FIXTURES = {"close", "stop", "truncated"}  # the fixtures do the first two; the last is a flag


def test_every_verb_stands_in_an_example_that_runs():
    written = "\n".join(text for kind in ("python", "python asterisk") for _, text in examples(kind))
    words = set(re.findall(r"\w+", written))
    verbs = {name for kind in VERBS for name in dir(kind) if not name.startswith("_")}
    assert verbs - words - BEHIND_FIXTURES == set()


def test_every_link_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_public_name_loads():
    assert {name for name in testing.__all__ if getattr(testing, name) is None} == set()
    assert set(testing.__all__) == set(testing._MODULE_OF)
