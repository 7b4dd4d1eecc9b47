"""An operator lets scenarios run on a schedule and reads the metrics."""

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pbxhub.testing import HttpAnswer, await_until, expect, http
from pbxhub.testing.monitor.plan import PlanError, read_plan
from pbxhub.testing.monitor.run import Run
from pbxhub.testing.monitor.scheduler import Monitor
from pbxhub.testing.processes import Program

pytestmark = pytest.mark.slow

GOOD = "def scenario_good():\n    pass\n"
BAD = "def scenario_bad():\n    assert 1 == 2, 'the callee did not ring'\n"
SLOW = "import time\n\ndef scenario_slow():\n    open('{started}', 'w').close()\n    time.sleep(60)\n"


def scenario(name: str, file: str, schedule: str = "0 0 1 1 *", more: str = "") -> str:
    return f'[[scenario]]\nname = "{name}"\nfile = "{file}"\nschedule = "{schedule}"\n{more}\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    (tmp_path / "slow.py").write_text(SLOW.format(started=tmp_path / "started"))
    return tmp_path


@pytest.fixture
def started(folder):
    """Starts `monitor` on a free port; gives its address and the process."""
    programs = []

    def start(plan: str) -> tuple[str, Program]:
        (folder / "monitor.toml").write_text(f'listen = "127.0.0.1:0"\n{plan}')
        command = [sys.executable, "-m", "pbxhub.testing", "monitor", str(folder / "monitor.toml")]
        program = Program(command, folder / "log")
        programs.append(program)
        line = await_until(lambda: expect(program.last_lines()).matches(r"metrics: http://\S+/metrics").value)
        return line.split("metrics: ")[1].split("/metrics")[0], program

    yield start
    for program in programs:
        program.stop()


def metric(url: str, line: str) -> float:
    """The value of one line of /metrics; fails (so that it can be awaited) while there is none."""
    for known in http("GET", url + "/metrics").body.splitlines():
        if known.startswith(line + " "):
            return float(known.rpartition(" ")[2])
    raise AssertionError(f"no {line} in /metrics")


def test_a_run_on_demand_answers_what_happened_and_is_measured(started):
    url, _ = started(scenario("good", "good.py") + scenario("bad", "bad.py"))
    good = http("POST", url + "/run/good", timeout="30s").expect_status(200)
    bad = http("POST", url + "/run/bad", timeout="30s").expect_status(500)
    assert (good.json("outcome"), good.json("messages")) == ("passed", [])
    assert bad.json("outcome") == "failed"
    assert "the callee did not ring" in bad.json("messages.0")
    assert metric(url, 'pbxhub_monitor_runs_total{outcome="passed",scenario="good"}') == 1
    assert metric(url, 'pbxhub_monitor_runs_total{outcome="failed",scenario="bad"}') == 1
    assert metric(url, 'pbxhub_monitor_runs_total{outcome="failed",scenario="good"}') == 0
    assert metric(url, 'pbxhub_monitor_up{scenario="good"}') == 1
    assert metric(url, 'pbxhub_monitor_up{scenario="bad"}') == 0
    assert metric(url, 'pbxhub_monitor_duration_seconds{scenario="good"}') == good.json("seconds")
    began = datetime.fromisoformat(good.json("started_on")).timestamp()
    assert began <= metric(url, 'pbxhub_monitor_last_success_timestamp_seconds{scenario="good"}') < began + 1
    with pytest.raises(AssertionError):
        metric(url, 'pbxhub_monitor_last_success_timestamp_seconds{scenario="bad"}')


def test_one_runs_at_a_time_and_stopping_the_monitor_stops_it(started, folder):
    url, program = started(scenario("slow", "slow.py", more='timeout = "1m"') + scenario("good", "good.py"))
    run_slow = Program(["curl", "-s", "-X", "POST", url + "/run/slow"], folder / "curl")
    await_until(lambda: expect((folder / "started").exists()).is_true())
    assert http("GET", url + "/healthz").json("running") == "slow"
    refused = http("POST", url + "/run/good").expect_status(409)
    assert refused.json("error") == "slow is running, and scenarios run one at a time: try again"
    child = children(program.pid)
    assert len(child) == 1
    program.signal(signal.SIGTERM)
    program.wait(15)
    await_until(lambda: expect([pid for pid in child if Path(f"/proc/{pid}").exists()]).is_empty())
    run_slow.stop()


def test_a_scenario_over_its_time_is_stopped_and_counted(started):
    url, program = started(scenario("slow", "slow.py", more='timeout = "3s"'))
    answer = http("POST", url + "/run/slow", timeout="30s").expect_status(500)
    assert answer.json("outcome") == "timeout"
    assert answer.json("messages.0") == "not finished after 3s and stopped"
    assert answer.json("seconds") < 10
    assert metric(url, 'pbxhub_monitor_runs_total{outcome="timeout",scenario="slow"}') == 1
    assert children(program.pid) == []


def test_what_is_due_runs_by_itself(folder, monkeypatch):
    (folder / "monitor.toml").write_text(scenario("good", "good.py", "*/5 * * * *") + scenario("bad", "bad.py"))
    plan = read_plan(folder / "monitor.toml")
    at = datetime(2026, 3, 1, 11, 58, 59, tzinfo=UTC)
    assert [one.next_due(at).isoformat() for one in plan.scenarios] == [
        "2026-03-01T12:00:00+00:00",
        "2027-01-01T00:00:00+00:00",
    ]

    class Enough(Exception):
        pass

    clock, ran = [at], []

    class SteppedMonitor(Monitor):
        """Time passes only by waiting."""

        def _now(self):
            return clock[0]

        def _asked_before(self, due):
            clock[0] = due

        def _run(self, planned):
            ran.append((planned.name, clock[0].isoformat()))
            if len(ran) == 3:
                raise Enough

    with pytest.raises(Enough):
        SteppedMonitor(plan).follow()
    assert ran == [("good", f"2026-03-01T12:{minute}:00+00:00") for minute in ("00", "05", "10")]


def test_what_agents_measured_is_shown(folder):
    (folder / "monitor.toml").write_text(scenario("good", "good.py"))
    monitor = Monitor(read_plan(folder / "monitor.toml"))
    agents = (
        {"name": "101", "registered": True, "mos": 4.31, "jitter_ms": 0.5, "loss_percent": 0.0},
        {"name": "102", "registered": False, "mos": None, "jitter_ms": None, "loss_percent": None},
    )
    monitor.metrics.record(Run("good", "passed", datetime.now(UTC), 1.0, (), agents))
    value = monitor.metrics.registry.get_sample_value
    assert value("pbxhub_monitor_agent_mos", {"scenario": "good", "agent": "101"}) == 4.31
    assert value("pbxhub_monitor_agent_jitter_milliseconds", {"scenario": "good", "agent": "101"}) == 0.5
    assert value("pbxhub_monitor_agent_loss_percent", {"scenario": "good", "agent": "101"}) == 0
    assert value("pbxhub_monitor_agent_registered", {"scenario": "good", "agent": "102"}) == 0
    assert value("pbxhub_monitor_agent_mos", {"scenario": "good", "agent": "102"}) is None


def test_a_run_without_an_agent_does_not_show_the_figures_of_the_last(folder):
    (folder / "monitor.toml").write_text(scenario("good", "good.py"))
    monitor = Monitor(read_plan(folder / "monitor.toml"))
    measured = {"mos": 4.31, "jitter_ms": 0.5, "loss_percent": 0.0}
    agents = ({"name": "101", "registered": True, **measured}, {"name": "outside", "registered": None, **measured})
    monitor.metrics.record(Run("good", "passed", datetime.now(UTC), 1.0, (), agents))
    monitor.metrics.record(Run("good", "timeout", datetime.now(UTC), 1.0, (), ()))
    value = monitor.metrics.registry.get_sample_value
    assert value("pbxhub_monitor_agent_registered", {"scenario": "good", "agent": "101"}) == 0
    assert value("pbxhub_monitor_agent_registered", {"scenario": "good", "agent": "outside"}) is None
    assert value("pbxhub_monitor_agent_mos", {"scenario": "good", "agent": "101"}) is None
    assert value("pbxhub_monitor_agent_mos", {"scenario": "good", "agent": "outside"}) is None


def test_a_run_that_tried_nothing_is_no_success(started, folder):
    (folder / "skips.py").write_text("import pytest\n\ndef scenario_none():\n    pytest.skip('no Asterisk here')\n")
    (folder / "half.py").write_text((folder / "skips.py").read_text() + GOOD)
    url, _ = started(scenario("skips", "skips.py") + scenario("half", "half.py"))
    skipped = http("POST", url + "/run/skips", timeout="30s").expect_status(500)
    assert skipped.json("outcome") == "skipped"
    assert skipped.json("messages.0") == "nothing was tried: every scenario of the file was skipped"
    assert "no Asterisk here" in skipped.json("messages.1")
    assert metric(url, 'pbxhub_monitor_runs_total{outcome="skipped",scenario="skips"}') == 1
    assert metric(url, 'pbxhub_monitor_up{scenario="skips"}') == 0
    with pytest.raises(AssertionError):
        metric(url, 'pbxhub_monitor_last_success_timestamp_seconds{scenario="skips"}')
    assert http("POST", url + "/run/half", timeout="30s").json("outcome") == "passed"


def test_a_wrong_address_of_the_monitor_is_a_json_answer(started):
    url, _ = started(scenario("good", "good.py"))
    unknown = http("POST", url + "/run/none").expect_status(404)
    assert unknown.json("error") == "there is no scenario none; there are good"
    assert_json_error(http("GET", url + "/run/good"), 405)
    assert_json_error(http("GET", url + "/"), 404)
    assert http("GET", url + "/healthz").json("scenarios") == ["good"]


def test_an_occupied_port_is_a_sentence(started, folder):
    url, _ = started(scenario("good", "good.py"))
    port = url.rpartition(":")[2]
    (folder / "second.toml").write_text(f'listen = "127.0.0.1:{port}"\n' + scenario("good", "good.py"))
    second = Program([sys.executable, "-m", "pbxhub.testing", "monitor", str(folder / "second.toml")], folder / "log2")
    assert second.wait(20) == 1
    assert f'listen = "127.0.0.1:{port}": Address already in use: choose another port' in second.last_lines()


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("", "nothing to run: add a [[scenario]]"),
        ("x = [", "Invalid value"),
        ("[scenario]\nname = 'a'", "write [[scenario]] in double brackets"),
        (scenario("a", "good.py", "every day"), 'schedule = "every day": give five cron fields'),
        (scenario("a", "good.py", "* * * * * *"), "give five cron fields"),
        (scenario("a", "none.py"), "there is no file"),
        (scenario("a", "good.py", more='timeout = "long"'), "timeout: 'long' is not a duration"),
        (scenario("a", "good.py", more='timeout = "0s"'), "timeout: '0s' is no limit"),
        (scenario("a", "good.py", more="tags = 'x'"), "tags must be a list of texts"),
        (scenario("a", "good.py", more="retries = 3"), "retries is not a key here; the keys are env_files, file, name"),
        ("[[scenario]]\nname = 'a'\nfile = 'good.py'", "schedule is missing"),
        ("[[scenario]]\nname = 5", "name must be a text in quotes, not 5"),
        (scenario("a/b", "good.py"), 'give a name without "/"'),
        (scenario("a", "good.py") * 2, "two scenarios have one name"),
        ("listen = '9177'\n" + scenario("a", "good.py"), "give an address and a port"),
        ("time_zone = 'Kyiw'\n" + scenario("a", "good.py"), 'time_zone = "Kyiw" is not known'),
        ("env_files = ['none.env']\n" + scenario("a", "good.py"), "there is no file"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_place(folder, plan, said):
    (folder / "monitor.toml").write_text(plan)
    with pytest.raises(PlanError) as caught:
        read_plan(folder / "monitor.toml")
    assert said in str(caught.value)
    assert str(folder / "monitor.toml") in str(caught.value)


def assert_json_error(answer: HttpAnswer, status: int) -> None:
    assert answer.expect_status(status).json("error")


def children(pid: int) -> list[int]:
    """Processes that a process has started; its threads start them too."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found
