"""Audio that agents send, and tones found in what they hear."""

import array
import math
import sys
import wave
from dataclasses import dataclass
from pathlib import Path

_HEADER = 44  # bytes before the samples of a WAV file of libsndfile
_RATE = 8000  # samples a second, 16 bits, one channel: G.711 decoded
_WINDOW = 1600  # samples looked at: the last 200 ms
WINDOW_BYTES = 2 * _WINDOW
_SILENCE = 120 * 48000 * 4  # bytes after a file: baresip ends the call at the end of its source
_AUDIBLE = 100.0  # root mean square of 16-bit samples; a silent line has less than 10
CLEAR = 0.5  # part of the power that the tone must have


@dataclass(frozen=True, slots=True)
class Tone:
    """A sine tone."""

    hertz: int


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A WAV file."""

    path: Path


def tone(hertz: int) -> Tone:
    """A sine tone, for Agent.send_audio."""
    if not 50 <= hertz <= 3600:
        raise ValueError(f"{hertz} Hz does not pass a telephone line: give 50 to 3600")
    return Tone(hertz)


def file(path: str | Path) -> SoundFile:
    """A WAV file of 8 kHz, mono, 16 bits, for Agent.send_audio.

    Two minutes of silence follow it; then baresip hangs up.
    """
    resolved = Path(path).resolve()
    if not resolved.is_file():
        raise FileNotFoundError(f"there is no sound file {resolved}")
    try:
        with wave.open(str(resolved), "rb") as sound:
            found = (sound.getframerate(), sound.getnchannels(), sound.getsampwidth())
    except wave.Error as error:
        raise ValueError(f"{resolved} is not a WAV file: {error}") from None
    if found != (_RATE, 1, 2):
        raise ValueError(f"{resolved} must be of 8 kHz, mono, 16 bits: sox IN -r 8000 -c 1 -b 16 OUT.wav")
    return SoundFile(resolved)


def device_of(source: Tone | SoundFile, folder: Path) -> str:
    """The source as baresip names it. Its phones run at 48 kHz stereo, so a file is brought to that in the folder."""
    if isinstance(source, Tone):
        return f"ausine,{source.hertz}"
    wide = folder / f"send-{source.path.stem}.wav"
    with wave.open(str(source.path), "rb") as sound, wave.open(str(wide), "wb") as made:
        made.setparams((2, 2, 48000, 0, "NONE", ""))
        frames = sound.readframes(sound.getnframes())
        made.writeframes(b"".join(frames[at : at + 2] * 12 for at in range(0, len(frames), 2)))
        made.writeframes(bytes(_SILENCE))
    return f"aufile,{wide}"


def tone_share(heard: Path, hertz: float, since: int = 0) -> float:
    """Which part (0 to 1) of the newest 200 ms of the recording is this tone; 0 when it is silent or too short.

    since: bytes of the recording that are too old to count.
    """
    samples = _newest(heard, since)
    power = sum(sample * sample for sample in samples)
    if len(samples) < _WINDOW or math.sqrt(power / len(samples)) < _AUDIBLE:
        return 0.0
    return min(1.0, _goertzel(samples, hertz) * 2 / (len(samples) * power))


def _goertzel(samples: "array.array[int]", hertz: float) -> float:
    """Power of one frequency: the squared magnitude of one bin of a Fourier transform."""
    turn = 2 * math.cos(2 * math.pi * hertz / _RATE)
    last = before = 0.0
    for sample in samples:
        last, before = sample + turn * last - before, last
    return last * last + before * before - turn * last * before


def _newest(heard: Path, since: int) -> "array.array[int]":
    size = heard.stat().st_size
    begin = max(_HEADER, since + since % 2, size - size % 2 - WINDOW_BYTES)
    with heard.open("rb") as recording:
        recording.seek(begin)
        data = recording.read(WINDOW_BYTES)
    samples = array.array("h", data[: len(data) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples
