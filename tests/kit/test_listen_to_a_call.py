"""A scenario listens to what passes between agents: tones, quality, recordings, SIP messages."""

import json
import math
import os
import struct
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from pbxhub.testing import await_until, expect, file, tone, wait
from pbxhub.testing.phones.call_quality import mean_opinion, quality_of
from pbxhub.testing.phones.tones import tone_share

PASSWORD = "secret"


def record(path: Path, *hertz: float, loud: float = 8000, seconds: float = 0.5) -> Path:
    with wave.open(str(path), "wb") as audio:
        audio.setparams((1, 2, 8000, 0, "NONE", ""))
        for n in range(int(8000 * seconds)):
            value = sum(loud * math.sin(2 * math.pi * one * n / 8000) for one in hertz)
            audio.writeframes(struct.pack("<h", int(value)))
    return path


def test_a_tone_is_told_from_others_noise_and_silence(tmp_path):
    assert tone_share(record(tmp_path / "a", 1000), 1000) > 0.99
    assert tone_share(record(tmp_path / "b", 1000), 700) < 0.01
    assert 0.45 < tone_share(record(tmp_path / "c", 1000, 440), 1000) < 0.55
    assert tone_share(record(tmp_path / "d", 1000, loud=20), 1000) == 0
    assert tone_share(record(tmp_path / "e", 1000, seconds=0.1), 1000) == 0
    newest = record(tmp_path / "f", 440)
    with newest.open("ab") as more, record(tmp_path / "g", 900).open("rb") as other:
        other.seek(44)
        more.write(other.read())
    assert tone_share(newest, 900) > 0.99


def test_quality_follows_the_e_model():
    best = quality_of({"rx": {"sent": 500, "lost": 0, "jit": 500}, "rtt": 1000})
    assert (best.loss_percent, best.jitter_ms, best.round_trip_ms) == (0, 0.5, 1)
    assert 4.3 < best.mos <= 4.5
    lossy = quality_of({"rx": {"sent": 95, "lost": 5, "jit": 500}, "rtt": 1000})
    assert lossy.loss_percent == 5
    assert 1.5 < lossy.mos < 2.9
    assert mean_opinion(20, 0) > mean_opinion(150, 0) > mean_opinion(400, 0) > mean_opinion(400, 20) >= 1


def test_sources_that_cannot_be_heard_are_refused(tmp_path):
    with pytest.raises(ValueError, match="5000 Hz does not pass a telephone line"):
        tone(5000)
    with pytest.raises(FileNotFoundError, match="there is no sound file"):
        file(tmp_path / "none.wav")
    with pytest.raises(ValueError, match="is not a WAV file"):
        file(__file__)
    with wave.open(str(tmp_path / "cd.wav"), "wb") as audio:
        audio.setparams((2, 2, 44100, 0, "NONE", ""))
    with pytest.raises(ValueError, match="must be of 8 kHz, mono, 16 bits: sox"):
        file(tmp_path / "cd.wav")


@pytest.mark.asterisk
def test_both_sides_hear_what_the_other_sends(asterisk, agent, tmp_path):
    callee = agent("101", asterisk.address, PASSWORD)
    caller = agent("380441234567", asterisk.address, address=asterisk.network.address(2))
    expect(callee.registered).is_true()
    caller.dial("5550100")
    callee.accept()
    caller.await_established()
    caller.send_audio(tone(1000))
    callee.verify_audio(1000)
    callee.send_audio(file(record(tmp_path / "700.wav", 700, seconds=20)))
    caller.verify_audio(700)
    with pytest.raises(AssertionError, match="agent 101 does not hear 440 Hz"):
        callee.verify_audio(440, within="300ms")
    wait("5500ms", caller, callee)
    quality = await_until(lambda: expect(callee.quality).is_present().value)
    expect(quality.mos).at_least(4)
    expect(quality.loss_percent).equals(0)


SCENARIO = """
from pbxhub.testing import wait

def scenario_call(asterisk, agent):
    callee = agent("101", asterisk.address, "secret")
    caller = agent("380441234567", asterisk.address, address=asterisk.network.address(2))
    caller.dial("5550100")
    callee.accept()
    caller.await_established()
    wait("1s")

def scenario_refused(asterisk, agent):
    agent("102", asterisk.address, "wrong")
"""


def run(script: Path, *options: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pbxhub.testing", "scenario", "run", str(script), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **variables})


@pytest.mark.asterisk
def test_a_run_leaves_audio_and_figures(tmp_path):
    script = tmp_path / "call.py"
    script.write_text(SCENARIO)
    done = run(script, "--json", "--save-audio", tmp_path / "audio")
    call, refused = (line for line in map(json.loads, done.stdout.splitlines()) if line["event"] == "scenario")
    assert (call["outcome"], refused["outcome"]) == ("passed", "failed"), done.stderr
    assert [(one["name"], one["registered"]) for one in call["agents"]] == [("101", True), ("380441234567", None)]
    assert refused["agents"] == [{"name": "102", "registered": False}]
    recordings = sorted((tmp_path / "audio" / "scenario_call").glob("*.wav"))
    assert [path.name.partition("-")[0] for path in recordings] == ["101", "380441234567"]
    assert tone_share(recordings[0], 440) > 0.5


@pytest.mark.asterisk
def test_a_sip_trace_is_left_where_the_user_may_capture_and_a_sentence_elsewhere(tmp_path):
    script = tmp_path / "call.py"
    script.write_text(SCENARIO)
    done = run(script, "--sip-trace", tmp_path / "sip.pcap", "--scenario", "call")
    if os.geteuid() != 0 and done.returncode:
        assert "--sip-trace: tcpdump cannot capture" in done.stderr
        return
    read = ["tcpdump", "-A", "-r", str(tmp_path / "sip.pcap")]
    messages = subprocess.run(read, capture_output=True, text=True, errors="replace").stdout
    assert "INVITE sip:5550100@" in messages
    assert "401 Unauthorized" in messages


EMPTY = "def scenario_x():\n    pass\n"


def programs(folder: Path) -> str:
    """A PATH with nothing on it but what every run needs."""
    folder.mkdir()
    for name in ("setpriv", "sh"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    return str(folder)


def test_a_missing_tcpdump_is_a_sentence(tmp_path):
    (tmp_path / "empty.py").write_text(EMPTY)
    done = run(tmp_path / "empty.py", "--sip-trace", "x.pcap", PATH=programs(tmp_path / "bin"))
    assert done.returncode == 4
    assert "--sip-trace: tcpdump is missing: apt-get install -y --no-install-recommends tcpdump" in done.stderr


def test_a_tcpdump_that_may_not_capture_is_a_sentence(tmp_path):
    (tmp_path / "empty.py").write_text(EMPTY)
    path = programs(tmp_path / "bin")
    (tmp_path / "bin" / "tcpdump").write_text("#!/bin/sh\necho 'You do not have permission to capture'\nexit 1\n")
    (tmp_path / "bin" / "tcpdump").chmod(0o755)
    done = run(tmp_path / "empty.py", "--sip-trace", "x.pcap", PATH=path)
    assert done.returncode == 4
    assert "tcpdump cannot capture: You do not have permission to capture" in done.stderr
    assert "Run as root, or: setcap cap_net_raw+ep" in done.stderr
