"""A phone's voice: its number, sent again and again as audio data, so that the other phone knows whom it hears.

Asterisk forwards PCMU unchanged, through bridges and Local channels alike. What a phone receives therefore proves who
talks to whom, without speech recognition.
"""

import asyncio
import re
import socket
import struct
import time
from dataclasses import dataclass

_SPOKEN = re.compile(rb"<(\d{4,15})>")  # music on hold never contains these bytes
_FRESH = 0.35  # seconds: up to three packets may be lost
PACKET = 160  # samples of 20 ms
EVERY = 0.1  # seconds between packets: a fifth of a real phone's rate is enough


@dataclass(slots=True)
class Heard:
    """A number that was heard, and from when to when, in seconds since 1970."""

    number: str
    since: float
    until: float


class Voice:
    """The audio of one call: speak() sends `number`; hears is the number received."""

    def __init__(self, address: str, number: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((address, 0))
        self.port: int = self._socket.getsockname()[1]
        self.target: tuple[str, int] | None = None
        self._spoken = (f"<{number}>".encode() * PACKET)[:PACKET]
        self._sequence = 0
        self.heard: list[Heard] = []
        asyncio.get_running_loop().add_reader(self._socket, self._hear)

    def speak(self) -> None:
        """Sends one packet to the other side."""
        if self.target is None:
            return
        self._sequence += 1
        header = struct.pack("!BBHII", 0x80, 0, self._sequence & 0xFFFF, self._sequence * 800 & 0xFFFFFFFF, self.port)
        try:
            self._socket.sendto(header + self._spoken, self.target)
        except OSError:  # the buffer is full; the next packet follows soon
            return

    @property
    def hears(self) -> str:
        """The number heard now; empty during silence and music."""
        last = self.heard[-1] if self.heard else None
        return last.number if last and time.time() - last.until < _FRESH else ""

    @property
    def heard_until(self) -> float:
        """When a number was last heard, in seconds since 1970; 0 when never."""
        return self.heard[-1].until if self.heard else 0.0

    def close(self) -> None:
        """Closes the socket."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _hear(self) -> None:
        try:
            packet = self._socket.recv(2048)
        except OSError:
            return
        found = _SPOKEN.search(packet, 12)
        if found:
            number, now = found[1].decode(), time.time()
            if number != self.hears:
                self.heard.append(Heard(number, now, now))
            self.heard[-1].until = now
