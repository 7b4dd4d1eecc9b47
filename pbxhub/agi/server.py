"""Accepts FastAGI connections from Asterisk. Other clients get no answer and are disconnected within three seconds."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from contextlib import suppress

import structlog

from pbxhub.agi.conversation import Conversation, Shared
from pbxhub.agi.wire import LONGEST_LINE, BadRequestError, CommandError, HungUpError, Wire
from pbxhub.settings import Network
from pbxhub.store.agi_tokens import Tokens

MOST_CALLS = 2000  # conversations at once; beyond it the dialplan continues without asking
MOST_UNKNOWN = 500  # connections that have not sent their header yet
BACKLOG = 1024
CLOSE = 5.0  # seconds that conversations may take after stop

log = structlog.get_logger(__name__)


class Server:
    """networks: the addresses from which Asterisk may connect. Connections from others are closed at once."""

    def __init__(self, shared: Shared, tokens: Tokens, networks: Sequence[Network]) -> None:
        self._shared = shared
        self._tokens = tokens
        self._networks = networks
        self._tasks: set[asyncio.Task[None]] = set()
        self._unknown = 0

    async def listen(self, listening: socket.socket) -> asyncio.Server:
        """Accepts connections on a listening socket."""
        return await asyncio.start_server(self._accept, sock=listening, limit=LONGEST_LINE, backlog=BACKLOG)

    async def close(self) -> None:
        """Waits CLOSE seconds for the conversations, then ends them; the dialplan continues with their calls."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=CLOSE)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=1)

    @property
    def calls(self) -> int:
        """Number of open connections."""
        return len(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        if not self._may_come(writer) or self._unknown >= MOST_UNKNOWN or len(self._tasks) >= MOST_CALLS:
            writer.transport.abort()
            return
        self._tasks.add(task)
        if (
            connection := writer.get_extra_info("socket")
        ) is not None:  # detects a PBX that disappeared without closing the connection
            with suppress(OSError):  # the connection is closed already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        wire = Wire(reader, writer)
        try:
            await self._serve(wire)
        finally:
            self._tasks.discard(task)
            await wire.close()

    async def _serve(self, wire: Wire) -> None:
        self._unknown += 1
        try:
            call = await wire.read_call()
        except BadRequestError as error:
            log.debug("not a FastAGI request; connection closed", reason=str(error))
            return
        finally:
            self._unknown -= 1
        address = self._tokens.address_of(call.path)
        if address is None:
            log.warning("FastAGI request with a wrong token; copy the dialplan line from the page Call control")
            return
        try:
            await Conversation(self._shared, wire, call, address).run()
        except HungUpError:
            log.debug("caller hung up", call=call.uniqueid)
        except CommandError as error:
            log.warning("AGI command failed; the dialplan continues", call=call.uniqueid, reason=str(error))
        except Exception:
            log.exception("unexpected error in a FastAGI conversation; the dialplan continues", call=call.uniqueid)

    def _may_come(self, writer: asyncio.StreamWriter) -> bool:
        peer = writer.get_extra_info("peername")
        try:
            address = ipaddress.ip_address(str(peer[0]))
        except (ValueError, TypeError):
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)
