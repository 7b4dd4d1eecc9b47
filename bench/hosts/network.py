"""Hosts that this machine pretends to be: each has a network, a hostname, processes and some folders of its own.

Everything is in namespaces below a network of our own: it is gone when the last of our processes is.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pbxhub.testing.processes import Program
from pbxhub.testing.waiting import await_until

OUTSIDE = "192.0.2.254"
"""Of those who are no host of the hub: the PBXs, the receiver, and whoever looks at it all."""

_BRIDGE = "br0"
_MARK = "HOSTS_OF_THE_BED"
_OWN_FOLDERS = ("/var/lib/etcd", "/var/lib/postgresql", "/var/run/postgresql")
_GIVE_UP = "/proc/sys/net/ipv4/tcp_retries2"
_PR_SET_CHILD_SUBREAPER = 36  # of prctl(2)


def enter_own_network() -> None:
    """Starts this program again in a network without anybody else, once. Needs root."""
    if os.environ.get(_MARK):
        return
    if os.geteuid():
        sys.exit("namespaces are made by root only: run this as root")
    inside = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    os.execvpe(inside[0], [*inside, sys.executable, *sys.argv], {**os.environ, _MARK: "1"})


def lay_out() -> None:
    """The bridge to which all hosts are wired. A connection to a host that is silent is given up after 3 s."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _ip("link", "set", "lo", "up")
    _ip("link", "add", _BRIDGE, "type", "bridge", "forward_delay", "0")
    _ip("address", "add", f"{OUTSIDE}/24", "dev", _BRIDGE)
    _ip("link", "set", _BRIDGE, "up")
    Path(_GIVE_UP).write_text("4")


@dataclass(eq=False)
class Host:
    """One of the hosts. folder: of what survives when it loses power, and of the logs."""

    name: str
    address: str
    folder: Path
    programs: dict[str, Program] = field(default_factory=dict)
    _power: Program | None = None
    _first: int = 0  # the process with which the host ends

    def boot(self) -> None:
        """Powers it on, with no programs yet."""
        self.folder.mkdir(exist_ok=True)
        self._power = Program(
            ("unshare", "--net", "--uts", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child",
             "sh", "-c", self._script()), self.folder / "boot.log",
        )  # fmt: skip
        await_until(self._find_first, "20s")
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", str(self._first))
        _ip("link", "set", self._cable, "master", _BRIDGE, "up")
        for words in (("link", "set", "lo", "up"), ("address", "add", f"{self.address}/24", "dev", "eth0"),
                      ("link", "set", "eth0", "up")):  # fmt: skip
            self.do("ip", *words)

    def power_off(self) -> None:
        """Nobody hears a word of it: the cable goes first. Nothing happens if it is off already."""
        subprocess.run(["ip", "link", "delete", self._cable], capture_output=True)
        if self._power:
            self._power.kill()
        self._power = None
        for one in self.programs.values():
            one.kill()
        self.programs.clear()

    def cut(self) -> None:
        """Off the network: nothing comes in or goes out, all its processes go on."""
        _ip("link", "set", self._cable, "down")

    def mend(self) -> None:
        _ip("link", "set", self._cable, "up")

    def run(self, name: str, *command: str, environ: Mapping[str, str], user: str = "root") -> None:
        """Starts a program that is to run for as long as the host does."""
        self.programs[name] = Program(self._inside(command, user), self.folder / f"{name}.log", environ=dict(environ))

    def stop(self, name: str) -> None:
        """Ends a program in order, as systemd does. nsenter, which is between, passes no signals on."""
        program = self.programs.pop(name)
        os.kill(_children(program.pid)[0], signal.SIGTERM)
        program.wait(30)

    def do(self, *command: str, user: str = "root") -> str:
        """Runs a command on the host; its output. Raises CalledProcessError."""
        done = subprocess.run(self._inside(command, user), check=True, capture_output=True, text=True)
        return done.stdout

    @property
    def _cable(self) -> str:
        return f"to-{self.name}"

    def _inside(self, command: Sequence[str], user: str) -> list[str]:
        enter = ["nsenter", "--target", str(self._first), "--net", "--uts", "--pid", "--mount", "--"]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user != "root" else []
        return [*enter, *become, *command]

    def _script(self) -> str:
        """Its first process reaps orphans: SIGCHLD is ignored."""
        lines = [f"hostname {self.name}"]
        for place in _OWN_FOLDERS:
            own = self.folder / place.strip("/").replace("/", "-")
            lines += [f"mkdir -p {own} {place}", f"chmod 755 {own}", f"mount --bind {own} {place}"]
            lines += [f"chown postgres: {place}"] if "postgres" in place else []
        return "; ".join(["set -e", *lines, "exec env --ignore-signal=CHLD sleep infinity"])

    def _find_first(self) -> None:
        assert self._power
        children = _children(self._power.pid)
        assert children, self._power.last_lines()
        assert Path(f"/proc/{children[0]}/comm").read_text().strip() == "sleep", self._power.last_lines()
        self._first = children[0]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
