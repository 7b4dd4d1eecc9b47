"""Sounds that an answer names by URL: fetched by the hub through its guarded sender, played by Asterisk from a file.

Asterisk on another host finds them only where the folder is shared. A sound has at most 64 KB, as every answer has:
8 seconds of G.711 (.ulaw, .alaw), 40 of GSM, 4 of WAV.
"""

import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

from pbxhub.agi.carrying_out import StepError
from pbxhub.delivery.outgoing import Answer

FORMATS = ("wav", "ulaw", "alaw", "gsm")
_ENDING = re.compile(rf".*\.({'|'.join(FORMATS)})")


def ending_of(url: str) -> str:
    """The format of the sound, by the end of the URL's path. Raises StepError for what Asterisk could not play."""
    match = _ENDING.fullmatch(urlsplit(url).path.lower())
    if not match:
        raise StepError(f"{url} does not end in {', '.join('.' + one for one in FORMATS)}")
    return match.group(1)


def keep_sound(folder: Path, url: str, answer: Answer) -> str:
    """Writes a fetched sound; the name that Playback takes: an absolute path without the ending."""
    if answer.outcome != "ok":
        raise StepError(f"{url} was not fetched: {answer.message}")
    if answer.truncated or not answer.body:
        raise StepError(f"{url} is empty or larger than 64 KB")
    name = folder / hashlib.sha256(answer.body).hexdigest()[:32]
    path = name.with_suffix(f".{ending_of(url)}")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(answer.body)
        part.rename(path)
    return str(name)
