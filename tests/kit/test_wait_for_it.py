"""A scenario waits for what must come true, does things at once and reads its settings."""

import subprocess
import sys
import threading
import time

import pytest

from pbxhub.testing import EnvironmentMissingError, await_until, env, expect, load_env, parallel, wait
from pbxhub.testing.durations import seconds
from pbxhub.testing.environment import forget_loaded


@pytest.mark.parametrize(
    ("duration", "length"), [("250ms", 0.25), ("10s", 10), ("1.5s", 1.5), ("2m", 120), (3, 3), (0.5, 0.5), ("2 m", 120)]
)
def test_durations(duration, length):
    assert seconds(duration) == length


@pytest.mark.parametrize("duration", ["10", "ten seconds", "1h", "", "-1s", -1, float("inf"), float("nan")])
def test_what_is_not_a_duration_is_refused(duration):
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(duration)


def test_it_waits_until_the_check_holds_and_returns_its_value():
    answers = iter([0, 1, 2, 3])
    assert await_until(lambda: expect(next(answers)).equals(2).value, "5s") == 2


def test_the_last_failure_is_shown():
    counted = []

    def check():
        counted.append(1)
        expect(len(counted), "the count").at_least(10_000)

    with pytest.raises(AssertionError) as caught:
        await_until(check, "60ms")
    assert str(caught.value) == (
        f"still not so after 60ms ({len(counted)} tries); the last failure: "
        f"the count: expected to be at least 10000, got {len(counted)}"
    )
    assert isinstance(caught.value.__cause__, AssertionError)


def test_false_does_not_hold_and_none_does():
    with pytest.raises(AssertionError, match="the check returned False"):
        await_until(lambda: False, "20ms")
    assert await_until(lambda: None, "20ms") is None


def test_a_check_runs_at_least_once():
    assert await_until(lambda: 7, 0) == 7


def test_another_exception_ends_the_wait_at_once():
    began = time.monotonic()
    with pytest.raises(KeyError):
        await_until(lambda: {}["typo"], "60s")
    assert time.monotonic() - began < 30


class Party:
    def __init__(self, states):
        self._states = iter(states)

    @property
    def state(self):
        return next(self._states, "idle")

    def __str__(self):
        return "agent 101"


def test_waiting_fails_when_a_call_that_was_up_drops():
    with pytest.raises(AssertionError, match=r"the call of agent 101 ended after 0\.\ds; it had to stay up for 5s"):
        wait("5s", Party(["established"] * 3))


def test_a_party_without_a_call_may_stay_without():
    began = time.monotonic()
    wait("30ms", Party([]))
    assert time.monotonic() - began >= 0.03


def test_tasks_run_at_the_same_time_and_answer_in_order():
    meeting = threading.Barrier(3, timeout=60)

    def task(name):
        meeting.wait()
        return name

    assert parallel(lambda: task("a"), lambda: task("b"), lambda: task("c")) == ["a", "b", "c"]
    assert parallel() == []


def test_a_failing_task_is_raised_after_the_others_have_ended():
    ended = []

    def fail():
        raise AssertionError("no ring")

    with pytest.raises(AssertionError, match="no ring"):
        parallel(fail, lambda: (time.sleep(0.05), ended.append(1)))
    assert ended == [1]


def test_several_failing_tasks_are_all_shown():
    with pytest.raises(ExceptionGroup, match="2 of 3 parallel tasks failed") as caught:
        parallel(lambda: 1 / 0, lambda: {}["x"], lambda: 1)
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError, KeyError]


@pytest.fixture
def clean_env():
    yield
    forget_loaded()


def test_a_missing_variable_says_how_to_give_it(monkeypatch):
    monkeypatch.delenv("SIP_DOMAIN", raising=False)
    with pytest.raises(EnvironmentMissingError, match=r"needs the variable SIP_DOMAIN.*--env-file or load_env"):
        env("SIP_DOMAIN")
    assert env("SIP_DOMAIN", "localhost") == "localhost"


def test_a_file_beside_the_script_wins_over_the_process(tmp_path, monkeypatch, clean_env):
    monkeypatch.setenv("A_USER", "of the process")
    (tmp_path / "my.env").write_text('# accounts\nA_USER=101\nexport A_PASS="s p#ace"\nB=${A_USER}\n')
    script = tmp_path / "script.py"
    script.write_text(
        "from pbxhub.testing import env, load_env\nload_env('my.env')\nread = env('A_USER'), env('A_PASS')\n"
    )
    space = {"__file__": str(script), "__name__": "script"}
    exec(compile(script.read_text(), script, "exec"), space)
    assert space["read"] == ("101", "s p#ace")
    assert env("B") == "${A_USER}"


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(EnvironmentMissingError, match=r"there is no file .*nowhere\.env"):
        load_env("nowhere.env")


def test_a_call_that_is_over_cannot_stay_up():
    with pytest.raises(AssertionError, match="the call of agent 101 is over already; it had to stay up for 5s"):
        wait("5s", Party(["closed"]))


@pytest.mark.slow
def test_a_task_that_hangs_does_not_outlive_the_timeout(tmp_path):
    script = tmp_path / "hangs.py"
    script.write_text(
        "import threading\nfrom pbxhub.testing import parallel\n\n"
        "def scenario_hangs():\n    parallel(threading.Event().wait, lambda: 1)\n"
    )
    command = [sys.executable, "-m", "pbxhub.testing", "scenario", "run", str(script), "--timeout", "1s"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "Timeout" in done.stdout


@pytest.mark.slow
def test_no_time_at_all_is_refused_as_a_timeout(tmp_path):
    (tmp_path / "x.py").write_text("def scenario_x():\n    pass\n")
    command = [sys.executable, "-m", "pbxhub.testing", "scenario", "run", str(tmp_path / "x.py"), "--timeout", "0s"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "'0s' is no limit: give more than 0" in done.stderr
