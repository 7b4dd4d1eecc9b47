"""Programs that tests start: they die with the test run, even when it crashes, and leave no process behind."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# The kernel's parent-death signal follows the *thread* that started a child; this one lives as long as the test run.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="spawner")


class ProgramMissingError(Exception):
    """A program the tests use is not on this machine. The text says how to get it."""


class Program:
    """A running program in its own process group, its output in a file."""

    def __init__(
        self, command: Sequence[str], log: Path, cwd: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        setpriv = program("setpriv", "util-linux")
        self._process = _spawner.submit(
            _start, [setpriv, "--pdeathsig", "KILL", *command], log, cwd, {**os.environ, **(environ or {})}
        ).result()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait(self, seconds: float) -> int:
        """Its exit status; raises subprocess.TimeoutExpired when it still runs after this long."""
        return self._process.wait(seconds)

    def signal(self, number: int) -> None:
        """Sends a signal to the program alone."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9 for the whole process group."""
        if self.running:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def stop(self, seconds: float = 10) -> int:
        """SIGTERM, and SIGKILL when that does not help within so many seconds."""
        if self.running:
            self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait(10)

    def last_lines(self, count: int = 30) -> str:
        """The end of its output, for the message of a failure."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str, package: str) -> str:
    """The path of a program; raises ProgramMissingError naming its Debian package."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        raise ProgramMissingError(f"{name} is missing: apt-get install -y --no-install-recommends {package}")
    return path


def _start(command: list[str], log: Path, cwd: Path | None, environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
