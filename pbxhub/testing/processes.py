"""Programs that tests start: they die with the test run, even when it crashes, and leave no process behind."""

import errno
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import SystemRandom

# The kernel's parent-death signal follows the *thread* that started a child; this one lives as long as the test run.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="spawner")

_LOWEST = 20_000  # of the ports of free_port(); below are those of well-known services and of Asterisk's RTP
_chance = SystemRandom()  # tests seed the common one: processes side by side would choose the same ports


def _ports_of_outgoing_connections() -> frozenset[int]:
    """Empty where that would leave less than a thousand."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    enough = first - _LOWEST > 1000 or 65_535 - last > 1000
    return frozenset(range(first, last + 1)) if enough else frozenset()


_GIVEN_BY_THE_KERNEL = _ports_of_outgoing_connections()


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


def free_port(count: int = 1, address: str = "127.0.0.1", kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of that address that nobody has at this moment, and the count - 1 ports after it too.

    It is none that the kernel gives to outgoing connections: one of those could take it before the program that is
    told the port has bound it. kind: SOCK_DGRAM for UDP.
    """
    while True:
        first = _chance.randrange(_LOWEST, 65_537 - count)
        ports = range(first, first + count)
        if not _GIVEN_BY_THE_KERNEL.intersection(ports) and all(_is_free(address, port, kind) for port in ports):
            return first


def _is_free(address: str, port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


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
