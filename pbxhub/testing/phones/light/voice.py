"""A phone's voice says its number over and over, so that the phone at the other end can tell whom it hears.

Asterisk passes PCMU on as it is, through bridges and Local channels alike. What is heard is therefore the truth of who
talks to whom, and needs no ear.
"""

import asyncio
import re
import socket
import struct
import time
from dataclasses import dataclass

_SPOKEN = re.compile(rb"<(\d{4,15})>")  # music has no such bytes
_FRESH = 0.35  # seconds: three packets may be missing
PACKET = 160  # samples of 20 ms
EVERY = 0.1  # seconds between two packets: a fifth of what a real phone sends is enough


@dataclass(slots=True)
class Heard:
    """Who was heard from when to when, in seconds since 1970."""

    number: str
    since: float
    until: float


class Voice:
    """The audio of one call: says `number` whenever speak() is called, and knows whom it hears."""

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
        """Sends one packet to whoever is at the other end."""
        if self.target is None:
            return
        self._sequence += 1
        header = struct.pack("!BBHII", 0x80, 0, self._sequence & 0xFFFF, self._sequence * 800 & 0xFFFFFFFF, self.port)
        try:
            self._socket.sendto(header + self._spoken, self.target)
        except OSError:  # a full buffer: the next one will do
            return

    @property
    def hears(self) -> str:
        """The number that is heard now; empty in silence and music."""
        last = self.heard[-1] if self.heard else None
        return last.number if last and time.time() - last.until < _FRESH else ""

    @property
    def heard_until(self) -> float:
        """When anybody was heard last, in seconds since 1970; 0 when never."""
        return self.heard[-1].until if self.heard else 0.0

    def close(self) -> None:
        """Ends it."""
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
