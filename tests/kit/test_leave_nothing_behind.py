"""Programs that are missing, and runs that crash: a sentence, no process and no port left over."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pbxhub.testing import Agent, MockServer, PhoneFailedError, ProgramMissingError, await_until, expect

KILLED = """
import os, signal
from pbxhub.testing import Agent, MockServer
from pbxhub.testing.processes import free_port
agent, hooks = Agent("101", "127.0.0.1"), MockServer(free_port())
print(agent._baresip._program.pid, hooks.port, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_run_leaves_no_phone_and_no_port():
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid, port = map(int, done.stdout.split())
    await_until(lambda: expect(is_running(pid)).is_false())
    MockServer(port).stop()


def test_a_missing_baresip_names_its_package(tmp_path, monkeypatch):
    (tmp_path / "setpriv").symlink_to("/usr/bin/setpriv")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissingError, match=r"baresip is missing: apt-get install .* baresip-core"):
        Agent("101", "127.0.0.1")


@pytest.mark.slow
def test_a_server_that_answers_nothing_is_a_sentence_and_no_phone_is_left():
    before = phones()
    with pytest.raises((AssertionError, PhoneFailedError), match="agent 101"):
        Agent("101", "127.0.0.1:9", "secret")
    await_until(lambda: expect(phones() - before).equals(set()))


def is_running(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


def phones() -> set[str]:
    """Process ids of this test's own phones."""
    listed = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "pid=,comm="], capture_output=True, text=True)
    return {line.split()[0] for line in listed.stdout.splitlines() if "baresip" in line}
