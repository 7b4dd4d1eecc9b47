"""Files in a request: the recording of the call, whose bytes join the body only when it is sent.

The order of events: 1. while a body is rendered, a mark stands in the place of each file. It is a hash of the
delivery's id, so no value of a call can contain it. 2. cut() takes the marks out and notes where they stood: this is
what is stored. 3. The sender reads the file and inserts it (sending/upload.py).
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from posixpath import basename, splitext
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

Coding = Literal["raw", "base64", "form"]
"""How the bytes of a file are written: as they are, in base64, or in base64 with + / = percent-encoded."""

SOUNDS = {".wav": "audio/wav", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".gsm": "audio/gsm", ".wav49": "audio/wav"}
"""Recordings by the ends of their names. No other file is sent or played."""

_TYPES = SOUNDS | {
    ".csv": "text/csv", ".gif": "image/gif", ".html": "text/html", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    ".json": "application/json", ".pdf": "application/pdf", ".png": "image/png", ".txt": "text/plain",
    ".xml": "application/xml", ".zip": "application/zip",
}  # fmt: skip
_CODINGS: dict[bytes, Coding] = {b"r": "raw", b"b": "base64", b"f": "form"}
_STORED = "s"


@dataclass(frozen=True, slots=True)
class Attached:
    """A file in a body. at: its place, in bytes of the stored body. name: of the recording as the PBX reported it, a
    path or an address; of the webhook's own file, how it is called. size: of the webhook's own file, whose bytes stand
    in the stored body; 0 for a recording, whose bytes do not.
    """

    at: int
    name: str
    coding: Coding = "raw"
    size: int = 0


@dataclass(frozen=True, slots=True)
class FilePart:
    """A leaf of a tree: a file. mark: stands for its bytes."""

    file_name: str
    mark: str


def key_of(delivery_id: object) -> str:
    """What the marks of a delivery begin with."""
    return "pbxhubfile" + hashlib.sha256(f"file of {delivery_id}".encode()).hexdigest()


def mark_of(key: str, coding: Coding) -> str:
    """The mark of the recording."""
    return key + coding[0]


def mark_of_stored(key: str) -> str:
    """The mark of the webhook's own file."""
    return key + _STORED


def cut(body: bytes, key: str, recording: str, stored: tuple[str, bytes]) -> tuple[bytes, tuple[Attached, ...]]:
    """The body without its marks, and what they stood for. stored: name and bytes of the webhook's own file."""
    first, *rest = re.split(key.encode() + b"([rbfs])", body)
    parts, at, found = [first], len(first), list[Attached]()
    for letter, text in zip(rest[::2], rest[1::2], strict=True):
        if letter == _STORED.encode():
            name, content = stored
            found.append(Attached(at, name, size=len(content)))
            parts.append(content)
            at += len(content)
        else:
            found.append(Attached(at, recording, _CODINGS[letter]))
        parts.append(text)
        at += len(text)
    return b"".join(parts), tuple(found)


def recording_in(files: Iterable[Attached]) -> str:
    """The recording that a request sends, by the name that the PBX reported; "" when it sends none."""
    return next((one.name for one in files if not one.size), "")


def dump_files(files: Iterable[Attached]) -> list[list[Any]]:
    """The JSON for Delivery.files."""
    return [[one.at, one.name, one.coding, one.size] for one in files]


def load_files(rows: Iterable[Sequence[Any]]) -> tuple[Attached, ...]:
    """What dump_files wrote."""
    return tuple(Attached(*row) for row in rows)


def with_notes(body: bytes, files: Sequence[Attached], size: int | None = None) -> bytes:
    """The body to read: "(file: call.wav, 1.2 MB)" in place of each file. size: of the recording, if it is known."""
    parts, start = [], 0
    for one in files:
        parts += [body[start : one.at], _note(one, one.size or size).encode()]
        start = one.at + one.size
    return b"".join([*parts, body[start:]])


def _note(one: Attached, size: int | None) -> str:
    coded = "" if one.coding == "raw" else ", base64"
    return f"(file: {file_name_of(one.name)}{'' if size is None else f', {size_text(size)}'}{coded})"


def size_text(size: int) -> str:
    """1.2 MB, 34 KB, 512 bytes."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.0f} KB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def file_name_of(recording: str) -> str:
    """The name of a recording's file, without its folder or the rest of its address."""
    if recording.startswith(("http://", "https://")):
        try:
            recording = unquote(urlsplit(recording).path)
        except ValueError:  # such as http://[x.wav
            return "recording"
    return basename(recording) or "recording"


def type_of_file(name: str) -> str:
    """The Content-Type of a file, by the end of its name."""
    return _TYPES.get(splitext(name)[1].lower(), "application/octet-stream")
