"""Listens for Asterisk. Whoever else connects gets nothing, costs little, and is gone after three seconds."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from contextlib import suppress

import structlog

from pbxhub.agi.conversation import Conversation, Desk
from pbxhub.agi.wire import LONGEST_LINE, BadRequestError, CommandError, HungUpError, Wire
from pbxhub.settings import Network
from pbxhub.store.agi_tokens import Tokens

MOST_CALLS = 2000  # conversations at once; beyond it the dialplan goes on at once
MOST_UNKNOWN = 500  # connections that have not said yet who they are
BACKLOG = 1024
GOODBYE = 5.0  # seconds that conversations may take after stop

log = structlog.get_logger(__name__)


class Server:
    """networks: from where Asterisk may connect. Every other address is closed at once."""

    def __init__(self, desk: Desk, tokens: Tokens, networks: Sequence[Network]) -> None:
        self._desk = desk
        self._tokens = tokens
        self._networks = networks
        self._tasks: set[asyncio.Task[None]] = set()
        self._unknown = 0

    async def listen(self, listening: socket.socket) -> asyncio.Server:
        """Takes connections from a socket that listens already."""
        return await asyncio.start_server(self._accept, sock=listening, limit=LONGEST_LINE, backlog=BACKLOG)

    async def close(self) -> None:
        """Waits a little for the conversations, then ends them: their calls go on in the dialplan."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=GOODBYE)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=1)

    @property
    def calls(self) -> int:
        """Connections open now."""
        return len(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        if not self._may_come(writer) or self._unknown >= MOST_UNKNOWN or len(self._tasks) >= MOST_CALLS:
            writer.transport.abort()
            return
        self._tasks.add(task)
        if (connection := writer.get_extra_info("socket")) is not None:  # a PBX that is gone without a word
            with suppress(OSError):  # it was closed at once
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
            log.debug("not a FastAGI request", reason=str(error))
            return
        finally:
            self._unknown -= 1
        pbx_id = self._tokens.pbx_of(call.path)
        if pbx_id is None:
            log.warning("a FastAGI request with a wrong token; see Call control in the account for the right line")
            return
        try:
            await Conversation(self._desk, wire, call, pbx_id).run()
        except HungUpError:
            log.debug("the caller hung up", call=call.uniqueid)
        except CommandError as error:
            log.warning("the call goes on in the dialplan", call=call.uniqueid, reason=str(error))
        except Exception:
            log.exception("a conversation failed; the call goes on in the dialplan", call=call.uniqueid)

    def _may_come(self, writer: asyncio.StreamWriter) -> bool:
        peer = writer.get_extra_info("peername")
        try:
            address = ipaddress.ip_address(str(peer[0]))
        except (ValueError, TypeError):
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)
