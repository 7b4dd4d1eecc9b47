"""One baresip process and the wire to control it: JSON in netstrings over TCP (its module ctrl_tcp)."""

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pbxhub.testing.processes import Program, program
from pbxhub.testing.waiting import await_until

_CONTROL_PORT = 4444
_LONGEST_COMMAND = 1000  # baresip cuts at 1,024 bytes without a word
_CONFIG = """\
sip_listen {where.address}:{where.port}
net_interface {where.address}
call_max_calls 8
rtp_ports 30000-39998
audio_source ausine,440
ausrc_srate 48000
ausrc_channels 2
audio_player aubridge,x
audio_alert aubridge,x
rtp_stats yes
ringback_disabled yes
module_path {modules}
module g711.so
module ausine.so
module aufile.so
module aubridge.so
module sndfile.so
snd_path {folder}
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen {where.control}:4444
"""


class PhoneFailedError(Exception):
    """baresip did not start, ended, or did not take a command. The text says what it printed."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where one baresip listens: SIP and RTP at address and port, its control wire at another address."""

    address: str
    port: int
    control: str


class Baresip:
    """A running baresip. heard: called with each event, from one thread, in order."""

    def __init__(self, where: Listening, heard: Callable[[Mapping[str, Any]], None]) -> None:
        self._heard = heard
        self._answers: dict[str, str] = {}
        self._answered = threading.Condition()
        self._tokens = 0
        self.folder = Path(tempfile.mkdtemp(prefix="baresip-"))
        try:
            self._program = self._start(where)
            self._socket = await_until(lambda: self._connect(where.control), "10s")
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._read, name=f"baresip-{where.address}", daemon=True).start()

    @property
    def trace(self) -> str:
        """Everything it printed, SIP messages among it."""
        return (self.folder / "output").read_bytes().decode(errors="replace")

    @property
    def heard(self) -> list[Path]:
        """Recordings of what it heard, one WAV file per call, oldest first."""
        return sorted(self.folder.glob("dump-*-dec.wav"), key=lambda path: path.stat().st_mtime_ns)

    def command(self, name: str, params: str = "") -> str:
        """Runs one of its commands and returns what it says; raises PhoneFailedError when it refuses."""
        with self._answered:
            self._tokens += 1
            token = str(self._tokens)
            text = json.dumps({"command": name, "params": params, "token": token}).encode()
            if len(text) > _LONGEST_COMMAND:
                raise ValueError(f"baresip takes commands of {_LONGEST_COMMAND} bytes; this {name} has {len(text)}")
            self._socket.sendall(b"%d:%s," % (len(text), text))
            if not self._answered.wait_for(lambda: token in self._answers, 10):
                raise PhoneFailedError(f"baresip did not answer {name!r}:\n{self._program.last_lines()}")
            answer = json.loads(self._answers.pop(token))
        if not answer["ok"]:
            raise PhoneFailedError(f"baresip refused {name!r}: {answer['data'].strip()}")
        return str(answer["data"])

    def close(self) -> None:
        """Ends it: unregisters first when it can."""
        if hasattr(self, "_program"):
            self._program.stop(2)
        if hasattr(self, "_socket"):
            self._socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, where: Listening) -> Program:
        path = program("baresip", "baresip-core")
        modules = Path(path).resolve().parent.parent / "lib/baresip/modules"
        config = _CONFIG.format(where=where, modules=modules, folder=self.folder)
        (self.folder / "config").write_text(config)
        (self.folder / "accounts").write_text("")
        return Program([path, "-f", str(self.folder), "-4", "-s"], self.folder / "output", cwd=self.folder)

    def _connect(self, control: str) -> socket.socket:
        if not self._program.running:
            raise PhoneFailedError(f"baresip ended while starting:\n{self._program.last_lines()}")
        try:
            return socket.create_connection((control, _CONTROL_PORT))
        except ConnectionRefusedError as error:
            raise AssertionError(str(error)) from None

    def _read(self) -> None:
        with self._socket.makefile("rb") as stream:
            while message := _netstring(stream.read):
                value = json.loads(message)
                if "event" in value:
                    self._heard(value)
                    continue
                with self._answered:
                    self._answers[value.get("token", "")] = message
                    self._answered.notify_all()


def _netstring(read: Callable[[int], bytes]) -> str:
    """The next netstring of the stream; empty at its end."""
    length = b""
    try:
        while (digit := read(1)) != b":":
            if not digit:
                return ""
            length += digit
        return read(int(length) + 1)[:-1].decode(errors="replace")
    except OSError:  # closed by us
        return ""
