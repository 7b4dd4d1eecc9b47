"""Scripted SIP parties for what a softphone cannot do: refuse with a chosen status, redirect, many calls a second.

Each is one sipp process on an address of its own, ended with the test, also when the test crashes.
"""

import shutil
import socket
import tempfile
from pathlib import Path

from pbxhub.testing.processes import Program, program
from pbxhub.testing.waiting import await_until

_SCENARIOS = Path(__file__).parent / "sipp_scenarios"


class Sipp:
    """A running sipp with one of the scenarios; a context manager."""

    def __init__(self, scenario: str, address: str, *options: str, **values: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sipp-"))
        text = (_SCENARIOS / f"{scenario}.xml").read_text()
        for name, value in values.items():
            text = text.replace(f"@{name.upper()}@", value)
        (self._folder / "scenario.xml").write_text(text)
        files = ["-sf", "scenario.xml", "-trace_err", "-error_file", "errors", "-trace_logs", "-log_file", "calls"]
        command = [program("sipp", "sip-tester"), *files, "-i", address, "-p", "5060", "-nostdin", *options]
        self._program = Program(command, self._folder / "screen", cwd=self._folder)
        await_until(lambda: self._listens(address), "10s")

    def __enter__(self) -> "Sipp":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, seconds: float) -> None:
        """Waits for the end of all its calls; raises AssertionError with sipp's report when one went wrong."""
        status = self._program.wait(seconds)
        assert status == 0, f"sipp ended with {status}:\n{self.errors}\n{self._program.last_lines(60)}"

    @property
    def running(self) -> bool:
        """Whether it still has calls to make or wait for."""
        return self._program.running

    @property
    def errors(self) -> str:
        """What sipp found wrong, empty when nothing was."""
        path = self._folder / "errors"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    @property
    def answered(self) -> set[str]:
        """place_calls: the numbers of the callers whose call was answered."""
        return self._logged("answered")

    @property
    def completed(self) -> set[str]:
        """place_calls: the numbers of the callers whose call went as it should to its end."""
        return self._logged("completed")

    def _logged(self, word: str) -> set[str]:
        path = self._folder / "calls"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return {number for found, _, number in (line.partition(" ") for line in lines) if found == word}

    def _listens(self, address: str) -> bool:
        if not self.running:
            return True  # it had little to do, or wait() tells what went wrong
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, 5060))
            except OSError:
                return True
        return False

    def close(self) -> None:
        """Ends it at once."""
        self._program.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def answering_phone(address: str, ring_ms: int = 100) -> Sipp:
    """A phone that takes any number of calls at once, each after ringing for ring_ms."""
    return Sipp("answer", address, ring=str(ring_ms))


def talking_phone(address: str, talk_ms: int, ring_ms: int = 100) -> Sipp:
    """The same, and it is the one that hangs up, after talk_ms."""
    return Sipp("talk", address, ring=str(ring_ms), talk=str(talk_ms))


def refusing_phone(address: str, status: str, ring_ms: int = 100) -> Sipp:
    """A phone that rings and then refuses; status is "603 Decline", "503 Service Unavailable" …"""
    return Sipp("refuse", address, ring=str(ring_ms), status=status, contact=f"sip:{address}")


def redirecting_phone(address: str, target: str, ring_ms: int = 100) -> Sipp:
    """A phone that sends its calls on (302) to a SIP address, "sip:102@…"."""
    return Sipp("refuse", address, ring=str(ring_ms), status="302 Moved Temporarily", contact=target)


def place_calls(address: str, pbx: str, number: str, total: int, rate: float, talk_ms: int, caller: str) -> Sipp:
    """Starts `total` calls from outside to a DID, `rate` a second, each hung up by the caller after talk_ms.

    The numbers of the callers are `caller` followed by 1, 2, 3 … A call without any answer for 10 s has failed.
    """
    limits = ["-recv_timeout", "10000", "-m", str(total), "-r", f"{rate:g}", "-l", str(total), "-s", number]
    return Sipp("call", address, *limits, f"{pbx}:5060", talk=str(talk_ms), caller=caller)
