"""A body with a file in it, read from the disk while it is sent: at no time is the whole file in memory."""

import base64
import os
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO

from pbxhub.webhooks.attached import Attached, Coding

_PART = 3 * 16 * 1024  # bytes; a multiple of 3, so that base64 needs no padding in the middle


class Upload:
    """The stored body with the file inserted. length: bytes of it all, for Content-Length; call measure() first.

    size: bytes of the file. Only these are sent if it grows; if it shrinks, reading raises OSError.
    """

    def __init__(self, body: bytes, files: Sequence[Attached], file: IO[bytes], size: int) -> None:
        self._body = body
        self._files = [one for one in files if not one.size]
        self._file = file
        self._size = size
        self._rest = b""
        self._reading = self.parts()
        self.length: int | None = None

    def measure(self) -> None:
        """Sets length. Reads the file only if its length in a form is not known from parts(): how much is
        percent-encoded depends on the bytes."""
        if self.length is None and any(one.coding == "form" for one in self._files):
            deque(self.parts(), maxlen=0)
        elif self.length is None:
            self.length = len(self._body) + sum(self._length_of(one.coding) for one in self._files)

    def parts(self) -> Iterator[bytes]:
        """The whole body in small parts, from its beginning."""
        length = 0
        for part in self._all_parts():
            length += len(part)
            yield part
        self.length = length

    def _all_parts(self) -> Iterator[bytes]:
        start = 0
        for one in self._files:
            yield self._body[start : one.at]
            yield from self._coded(one.coding)
            start = one.at
        yield self._body[start:]

    def read(self, most: int) -> bytes:
        """The next bytes, at most that many; empty at the end. Raises OSError if the file cannot be read."""
        while not self._rest:
            part = next(self._reading, None)
            if part is None:
                return b""
            self._rest = part
        given, self._rest = self._rest[:most], self._rest[most:]
        return given

    def rewind(self) -> None:
        """read() begins again."""
        self._rest, self._reading = b"", self.parts()

    def close(self) -> None:
        self._file.close()

    def _coded(self, coding: Coding) -> Iterator[bytes]:
        return (_encoded(part, coding) for part in self._content())

    def _content(self) -> Iterator[bytes]:
        at = 0
        while at < self._size:
            part = os.pread(self._file.fileno(), min(_PART, self._size - at), at)
            if len(part) < min(_PART, self._size - at):
                raise OSError("the file became shorter while it was sent")
            at += len(part)
            yield part

    def _length_of(self, coding: Coding) -> int:
        return self._size if coding == "raw" else (self._size + 2) // 3 * 4


def _encoded(part: bytes, coding: Coding) -> bytes:
    if coding == "raw":
        return part
    text = base64.b64encode(part)
    return text if coding == "base64" else text.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D")
