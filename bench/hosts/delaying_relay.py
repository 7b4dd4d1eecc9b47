"""A relay between the hub and its database that holds back each byte for a while, in both directions.

It stands in for a long line: netem, which delays packets in the kernel, is not in every kernel.
"""

import asyncio
import threading
from collections.abc import Sequence

Place = tuple[str, int]


class DelayingRelay:
    """places: where it listens, one for each of the targets. delay: seconds in each direction, from now on."""

    def __init__(self, host: str, targets: Sequence[Place]) -> None:
        self.delay = 0.0
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        served = [asyncio.run_coroutine_threadsafe(self._serve(host, one), self._loop) for one in targets]
        self.places = [(host, one.result(10)) for one in served]

    async def _serve(self, host: str, target: Place) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there, here = await asyncio.open_connection(*target)
            except OSError:
                writer.transport.abort()
                return
            await asyncio.gather(self._carry(reader, here), self._carry(there, writer))

        server = await asyncio.start_server(accept, host, 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        writing = asyncio.create_task(self._write(waiting, writer))
        try:
            while data := await reader.read(65536):
                waiting.put_nowait((self._loop.time() + self.delay, data))
        except OSError:
            pass
        waiting.put_nowait((0.0, b""))
        await writing

    async def _write(self, waiting: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        try:
            while (one := await waiting.get())[1]:
                await asyncio.sleep(one[0] - self._loop.time())
                writer.write(one[1])
                await writer.drain()
        except OSError:
            pass
        writer.close()
