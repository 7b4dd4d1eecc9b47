"""The SIP messages of a run as a pcap for Wireshark, taken by tcpdump."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pbxhub.testing.processes import Program, program
from pbxhub.testing.waiting import await_until

_FILTER = "port 5060 or port 5061"


class CaptureFailedError(Exception):
    """tcpdump cannot capture. The text says what it said and what to do."""


@contextmanager
def capturing(pcap: Path) -> Iterator[None]:
    """Captures SIP (ports 5060 and 5061, on all interfaces) into the file while the block runs.

    Raises ProgramMissingError without tcpdump, CaptureFailedError when this user may not capture.
    """
    path = program("tcpdump", "tcpdump")
    with TemporaryDirectory(prefix="sip-capture-") as folder:
        command = [path, "-i", "any", "-U", "-s", "0", "-w", str(pcap.resolve()), _FILTER]
        tcpdump = Program(command, Path(folder) / "log")
        try:
            await_until(lambda: _is_listening(tcpdump, path), "10s")
            yield
        finally:
            tcpdump.stop()


def _is_listening(tcpdump: Program, path: str) -> bool:
    if not tcpdump.running:
        raise CaptureFailedError(
            f"tcpdump cannot capture: {tcpdump.last_lines(3)}\nRun as root, or: setcap cap_net_raw+ep {path}"
        )
    return "listening on" in tcpdump.last_lines()
