"""The network between a hub and its PBX: a relay whose connections can be cut, and frozen without a word to anybody."""

import asyncio
from contextlib import suppress

_CHUNK = 65536


class AmiRelay:
    """Listens on this machine and passes everything on to an AMI. It has the form of a PBX that a hub can listen to."""

    def __init__(self, host: str, port: int, username: str, secret: str) -> None:
        self.host, self.port, self.username, self.secret = "127.0.0.1", 0, username, secret
        self._target = host, port
        self._passes = asyncio.Event()
        self._passes.set()
        self._writers: set[asyncio.StreamWriter] = set()  # to the hub
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Chooses a free port at the first start, and takes the same again later."""
        self._server = await asyncio.start_server(self._connect, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Closes all connections and accepts no more until start()."""
        self.thaw()
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()

    def freeze(self) -> None:
        """Nothing passes until thaw(); both sides take their connections for good ones."""
        self._passes.clear()

    def thaw(self) -> None:
        """What has been waiting passes now."""
        self._passes.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes on both ways, until one side closes."""
        self._writers.add(writer)
        try:
            from_pbx, to_pbx = await asyncio.open_connection(*self._target)
            ways = [asyncio.create_task(self._pump(*way)) for way in ((reader, to_pbx), (from_pbx, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            to_pbx.close()
        except (OSError, asyncio.CancelledError):  # the PBX is down, or the loop ends
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                await self._passes.wait()
                writer.write(chunk)
                await writer.drain()
