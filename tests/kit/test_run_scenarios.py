"""An integrator runs scenario files by a command and reads its exit status, JSON lines and JUnit report."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.slow

GOOD = """
import pytest
from pbxhub.testing import expect, http, json_response

@pytest.mark.smoke
def scenario_webhook(mock_server):
    hooks = mock_server()
    hooks.respond("POST", "/voice", json_response({"actions": [{"type": "answer"}]}))
    http("POST", hooks.url + "/voice", body={"event": "incoming_call"}).expect_status(200)
    expect(hooks.request_count("/voice")).equals(1)
"""
BAD = """
from pbxhub.testing import await_until, expect

def test_never():
    await_until(lambda: expect("ringing", "the callee").equals("established"), "50ms")
"""


@pytest.fixture
def write(tmp_path):
    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return file


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pbxhub.testing", "scenario", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **variables})


def events(done: subprocess.CompletedProcess[str]) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def scenarios(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {event["name"]: event["outcome"] for event in events(done) if event["event"] == "scenario"}


def test_scenarios_that_pass_end_with_0_and_failing_ones_with_1(write):
    good, bad = write("good.py", GOOD), write("bad.py", BAD)
    assert run(good).returncode == 0
    done = run(good, bad)
    assert done.returncode == 1
    assert "still not so after 50ms" in done.stdout
    assert "the callee: expected to equal 'established', got 'ringing'" in done.stdout


def test_json_lines_tell_each_scenario_and_nothing_else(write):
    done = run(write("good.py", GOOD), write("bad.py", BAD), "--json")
    start, good, bad, end = events(done)
    assert start == {"event": "start", "scenarios": ["good.py::scenario_webhook", "bad.py::test_never"]}
    assert (good["name"], good["outcome"], good["tags"], good["line"]) == (
        "good.py::scenario_webhook", "passed", ["smoke"], 5,
    )  # fmt: skip
    assert (bad["outcome"], bad["tags"]) == ("failed", [])
    assert "expected to equal 'established', got 'ringing'" in bad["message"]
    assert bad["message"].endswith("bad.py:5)")
    assert 0.05 <= bad["seconds"] < 5
    assert end.pop("seconds") > 0
    assert end == {"event": "end", "passed": 1, "failed": 1, "exit_code": 1}
    assert "1 failed, 1 passed" in done.stderr


def test_a_file_that_cannot_be_read_is_an_error_line(write):
    done = run(write("typo.py", "def scenario_x(:\n"), "--json")
    error = next(event for event in events(done) if event["event"] == "error")
    assert done.returncode == 1
    assert (error["file"], "SyntaxError" in error["message"]) == ("typo.py", True)


def test_a_failing_responder_fails_the_scenario(write):
    text = GOOD.replace('json_response({"actions": [{"type": "answer"}]})', "1 / 0").replace("respond", "on")
    text = text.replace("1 / 0", "lambda request: 1 / 0").replace(".expect_status(200)", ".expect_status(500)")
    done = run(write("good.py", text), "--json")
    scenario = next(event for event in events(done) if event["event"] == "scenario")
    assert done.returncode == 1
    assert scenario["outcome"] == "error"
    assert "the responder for POST /voice raised" in scenario["message"]


def test_tags_and_names_choose(write):
    file = write("all.py", GOOD + BAD)
    assert scenarios(run(file, "--json", "--tag", "smoke")) == {"all.py::scenario_webhook": "passed"}
    assert scenarios(run(file, "--json", "--exclude-tag", "smoke")) == {"all.py::test_never": "failed"}
    assert scenarios(run(file, "--json", "--scenario", "webhook")) == {"all.py::scenario_webhook": "passed"}


def test_nothing_to_run_is_said(write):
    done = run(write("empty.py", "x = 1\n"))
    assert done.returncode == 5
    assert "no scenario was run: their functions must be named test_… or scenario_…" in done.stderr


def test_a_junit_report_is_written(write, tmp_path):
    run(write("good.py", GOOD), write("bad.py", BAD), "--junit", tmp_path / "report.xml")
    suite = ElementTree.parse(tmp_path / "report.xml").getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_variables_come_from_files_of_the_command(write):
    script = write("s.py", "from pbxhub.testing import env\n\ndef scenario_env():\n    assert env('A_USER') == '101'\n")
    assert run(script, "--env-file", write("a.env", "A_USER=101\n")).returncode == 0
    done = run(script)
    assert done.returncode == 1
    assert "needs the variable A_USER" in done.stdout


def test_a_scenario_that_hangs_is_stopped_and_cleaned_up(write, tmp_path):
    script = write(
        "s.py",
        "import time, pytest\n\n@pytest.fixture\ndef phone():\n    yield\n"
        f"    open({str(tmp_path / 'hung-up')!r}, 'w').close()\n\n"
        "def scenario_hangs(phone):\n    time.sleep(60)\n",
    )
    done = run(script, "--timeout", "500ms", "--json")
    assert done.returncode == 1
    assert list(scenarios(done).values()) == ["failed"]
    assert (tmp_path / "hung-up").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.py"], "'nowhere.py' does not exist"),
        ([], "Missing argument 'FILES...'"),
        ([__file__, "--timeout", "soon"], "'soon' is not a duration"),
        ([__file__, "--env-file", "nowhere.env"], "'nowhere.env' does not exist"),
    ],
)
def test_wrong_arguments_are_sentences(arguments, said):
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_scenarios_of_one_name_in_two_folders_and_modules_beside_them(write):
    write("a/helper.py", "NUMBER = 5\n")
    text = "from helper import NUMBER\n\ndef scenario_x():\n    assert NUMBER == 5\n"
    assert run(write("a/s.py", text), write("b/s.py", text)).returncode == 0


def test_settings_of_a_project_around_do_not_disturb(write):
    write("pyproject.toml", '[tool.pytest.ini_options]\naddopts = "--strict-markers --no-such-option"\n')
    assert run(write("good.py", GOOD)).returncode == 0


def test_the_plugin_loads_nothing_but_pytest(tmp_path):
    (tmp_path / "test_x.py").write_text(
        "import sys\n\ndef test_x():\n    heavy = {'flask', 'sqlalchemy', 'requests', 'h11', 'dotenv', 'panoramisk'}\n"
        "    assert 'pbxhub.testing.plugin' in sys.modules\n    assert not heavy & set(sys.modules)\n"
    )
    plain = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:hypothesispytest",
        "-p",
        "no:schemathesis",
        "-p",
        "pbxhub.testing.plugin",
        "-c",
        os.devnull,
    ]
    done = subprocess.run([*plain, "--rootdir", tmp_path, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
