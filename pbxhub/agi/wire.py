"""The AGI protocol on one connection: Asterisk's header, commands and their results, the hangup.

Source: res_agi.c of Asterisk 16 and 22. Input is limited in size and time. Each command is one line of at most LONGEST
bytes; a command with a line break is refused.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pbxhub.calls.phone_numbers import is_hidden

MOST_HEADERS = 100
LONGEST_LINE = 8 * 1024
LONGEST = 2000  # bytes of a command: Asterisk reads into a buffer of 2048
HEADER_TIME = 3.0  # seconds within which the header must arrive
_RESULT = re.compile(r"200 result=(\S*) ?(?:\((.*)\))?")


class HungUpError(Exception):
    """The caller hung up, or Asterisk closed the connection."""


class BadRequestError(Exception):
    """The input is not a FastAGI request. The message says why."""


class CommandError(Exception):
    """Asterisk refused a command, or the command cannot be written as one line."""


@dataclass(frozen=True, slots=True)
class AgiCall:
    """The call of a connection. path: of the agi:// URL, without the leading slash. arguments: of AGI().

    caller: empty when it is hidden. caller_name: as it came, to be read in the charset of the PBX (calls/charsets.py).
    """

    path: str
    arguments: tuple[str, ...]
    channel: str
    uniqueid: str
    caller: str
    caller_name: bytes
    dnid: str
    context: str
    extension: str


@dataclass(frozen=True, slots=True)
class AgiResult:
    """Asterisk's answer: result=101 (timeout) gives "101" and "timeout"."""

    value: str
    note: str = ""


class Wire:
    """One connection. Send one command at a time; each raises HungUpError once the caller has hung up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._results: asyncio.Queue[str] = asyncio.Queue(100)
        self._over = asyncio.get_running_loop().create_future()
        self._pump: asyncio.Task[None] | None = None
        self._caller_name = b""

    async def read_call(self) -> AgiCall:
        """Reads the header. Raises BadRequestError for anything else, after HEADER_TIME at the latest."""
        try:
            async with asyncio.timeout(HEADER_TIME):
                headers = await self._read_header()
        except TimeoutError:
            raise BadRequestError(f"no complete header within {HEADER_TIME:g} s") from None
        self._pump = asyncio.create_task(self._read_results())
        return _call(headers, self._caller_name)

    async def command(self, *words: str) -> AgiResult:
        """Sends one command; every word after the first is quoted. Raises HungUpError and CommandError."""
        line = " ".join([words[0], *(_quoted(word) for word in words[1:])])
        if self._over.done():
            raise HungUpError
        self._writer.write(_encoded(line))
        with suppress(OSError):  # _read_results notices it
            await self._writer.drain()
        answer = asyncio.ensure_future(self._results.get())
        await asyncio.wait({answer, self._over}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            raise HungUpError
        match = _RESULT.match(answer.result())
        if not match:
            raise CommandError(f"Asterisk refuses {words[0]}: {answer.result()[:200]}")
        return AgiResult(match.group(1), match.group(2) or "")

    async def get(self, variable: str) -> str:
        """The value of a channel variable or function; "" when it has none."""
        return (await self.command("GET VARIABLE", variable)).note

    async def wait_for(self, future: "asyncio.Future[Any]") -> bool:
        """Waits until the future is done (True) or the caller hangs up (False)."""
        await asyncio.wait({future, self._over}, return_when=asyncio.FIRST_COMPLETED)
        return future.done()

    @property
    def over(self) -> bool:
        """Whether the caller has hung up."""
        return self._over.done()

    async def close(self) -> None:
        """Closes the connection; the dialplan continues."""
        if self._pump is not None:
            self._pump.cancel()
        self._writer.close()
        with suppress(OSError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()

    async def _read_header(self) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        for _ in range(MOST_HEADERS + 1):
            raw = await self._line()
            line = _text(raw)
            if not line:
                return headers
            name, colon, value = line.partition(": ")
            if not colon and line.endswith(":"):
                name, colon = line[:-1], ":"
            if not colon or not name.startswith("agi_"):
                raise BadRequestError("a header line is not agi_name: value")
            if name in headers:  # a line break in a caller's name would forge a header
                raise BadRequestError(f"the header has {name} twice")
            headers[name] = value
            if name == "agi_calleridname":
                self._caller_name = raw.rstrip(b"\r\n").partition(b": ")[2]
        raise BadRequestError(f"more than {MOST_HEADERS} header lines")

    async def _line(self) -> bytes:
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            raise BadRequestError("connection closed before the header was complete") from None
        except (asyncio.LimitOverrunError, OSError) as error:
            raise BadRequestError(f"a header line is too long or incomplete ({type(error).__name__})") from None
        return line

    async def _read_results(self) -> None:
        """Separates results from the message that the caller hung up. A PBX that disappears shows as any OSError, such
        as no route or a timeout."""
        with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, asyncio.QueueFull):
            while True:
                line = _text(await self._reader.readuntil(b"\n"))
                if line == "HANGUP":
                    break
                # 520-Invalid command syntax. … 520 End of proper usage: one answer of several lines
                if line[:3].isdigit() and line[3:4] == " " and not line.startswith("100"):
                    self._results.put_nowait(line)
        if not self._over.done():
            self._over.set_result(None)


def _text(line: bytes) -> str:
    """Decodes a line. NUL, which no database stores, becomes U+FFFD, as do bytes that are not UTF-8."""
    return line.decode("utf-8", "replace").rstrip("\r\n").replace("\0", "\ufffd")


def _call(headers: Mapping[str, str], caller_name: bytes) -> AgiCall:
    arguments = list[str]()
    while (value := headers.get(f"agi_arg_{len(arguments) + 1}")) is not None:
        arguments.append(value)
    if "agi_network_script" not in headers or "agi_uniqueid" not in headers:
        raise BadRequestError("the header has no agi_network_script or no agi_uniqueid")
    known = {name: "" if (value := headers.get(f"agi_{name}", "")) == "unknown" else value for name in _NAMES}
    caller = "" if is_hidden(known["callerid"]) else known["callerid"]
    name = b"" if caller_name == b"unknown" else caller_name
    return AgiCall(
        headers["agi_network_script"], tuple(arguments), headers.get("agi_channel", ""), headers["agi_uniqueid"],
        caller, name, known["dnid"], known["context"], known["extension"],
    )  # fmt: skip


_NAMES = ("callerid", "dnid", "context", "extension")


def _quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _encoded(line: str) -> bytes:
    if any(letter in line for letter in "\r\n\0"):
        raise CommandError("the command contains a line break or NUL")
    data = line.encode("utf-8", "replace") + b"\n"
    if len(data) > LONGEST:
        raise CommandError(f"the command has {len(data)} bytes; Asterisk reads at most {LONGEST}")
    return data
