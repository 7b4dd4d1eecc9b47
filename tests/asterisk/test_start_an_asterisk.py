"""A developer starts real Asterisks for a test: any number at once, ended with the test whatever happens to it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pbxhub.testing.pbx.ami_stream import AmiStream
from pbxhub.testing.pbx.asterisk import running_asterisk
from pbxhub.testing.pbx.asterisk_install import AsteriskMissingError, asterisk
from pbxhub.testing.phones.softphone import Agent
from pbxhub.testing.waiting import await_until

pytestmark = pytest.mark.asterisk

_CRASHING = """
import os, sys
from pbxhub.testing.pbx.asterisk import running_asterisk
from pbxhub.testing.phones.sipp import answering_phone
from pbxhub.testing.phones.softphone import Agent
with running_asterisk(22) as pbx, Agent("101", pbx.address, "secret"), answering_phone(pbx.network.address(151)):
    print(pbx.pid, pbx.address, flush=True)
    sys.stdin.read()
"""


def test_two_of_one_version_know_nothing_of_each_other() -> None:
    with running_asterisk(22) as one, running_asterisk(22) as other:
        assert one.address != other.address
        assert one.pid != other.pid
        with Agent("101", one.address, "secret"), Agent("101", other.address, "secret") as phone:
            one.cli("channel originate PJSIP/101 application Wait 5")
            assert one.channels() == 1
            assert other.channels() == 0
            assert phone.state == "idle"


def test_a_killed_asterisk_starts_again_on_the_same_files() -> None:
    with running_asterisk(22) as pbx:
        pid = pbx.pid
        pbx.kill()
        assert not Path(f"/proc/{pid}").exists()
        pbx.start()
        assert pbx.pid != pid
        stream = AmiStream(pbx.address)
        pbx.stop_now()
        await_until(lambda: any("Event: Shutdown" in block for block in stream.blocks))
        stream.close()
        pbx.start()
        assert pbx.channels() == 0


def test_a_test_run_that_crashes_leaves_no_process_behind() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CRASHING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        pid, address = run.stdout.readline().split()
        network = address.rpartition(".")[0]
        assert len(_sockets_of(network)) >= 3
        os.kill(run.pid, signal.SIGKILL)
        await_until(lambda: not Path(f"/proc/{pid}").exists())
        await_until(lambda: _sockets_of(network) == [])


def test_without_an_archive_the_reason_is_a_sentence_and_nothing_half_made_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTERISK_CACHE", str(tmp_path))
    monkeypatch.setenv("ASTERISK_MIRROR", f"file://{tmp_path}/no-such-mirror")
    with pytest.raises(AsteriskMissingError, match="Asterisk 22 cannot be downloaded"):
        asterisk(22)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def _sockets_of(network: str) -> list[str]:
    """Local addresses of open sockets in the network; the kernel writes them backwards in hexadecimal."""
    files = [Path(f"/proc/net/{kind}").read_text().splitlines()[1:] for kind in ("tcp", "udp")]
    local = [bytes.fromhex(line.split()[1].partition(":")[0])[::-1] for lines in files for line in lines]
    return [text for text in (".".join(map(str, address)) for address in local) if text.startswith(f"{network}.")]
