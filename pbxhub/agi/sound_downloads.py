"""Sounds that an answer names by URL. The hub downloads them through the address guard; Asterisk plays the file.

The folder is PBXHUB_SOUNDS. Asterisk runs as another user and must be able to read it; if Asterisk runs on another
host, share the folder. A sound has at most 64 KB, as every answer: 8 seconds of G.711 (.ulaw, .alaw), 40 of GSM,
4 of WAV.
"""

import hashlib
import os
import re
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from pbxhub.agi.action_runner import StepError
from pbxhub.sending.exchange import Answer

FORMATS = ("wav", "ulaw", "alaw", "gsm")
_ENDING = re.compile(rf".*\.({'|'.join(FORMATS)})")


def ending_of(url: str) -> str:
    """The format of the sound, from the ending of the URL's path. Raises StepError for formats Asterisk cannot play."""
    match = _ENDING.fullmatch(urlsplit(url).path.lower())
    if not match:
        raise StepError(f"{url} does not end in {', '.join('.' + one for one in FORMATS)}")
    return match.group(1)


def keep_sound(folder: Path, url: str, answer: Answer) -> str:
    """Writes a downloaded sound, readable by every user. Returns the name for Playback: absolute path without ending.

    Raises StepError when the download failed or the file cannot be written.
    """
    if answer.outcome != "ok":
        raise StepError(f"{url} could not be downloaded: {answer.message}")
    if answer.truncated or not answer.body:
        raise StepError(f"{url} is empty or larger than 64 KB")
    name = folder / hashlib.sha256(answer.body).hexdigest()[:32]
    path = name.with_suffix(f".{ending_of(url)}")
    try:
        if not path.exists():
            _write(path, answer.body)
    except OSError as error:
        raise StepError(f"{url} cannot be saved in {folder}: {error.strerror}") from None
    return str(name)


def _write(path: Path, body: bytes) -> None:
    """Writes the file in one step, because two calls may download the same sound at once."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o755)
    handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except OSError:
        os.unlink(draft)
        raise
