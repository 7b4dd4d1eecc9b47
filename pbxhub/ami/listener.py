"""`pbxhub listen`: a line to every PBX that is switched on. Rows that are added, changed or removed take effect by
themselves."""

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.ami.line import Line
from pbxhub.ami.login import Patience
from pbxhub.ami.outlet import Publish
from pbxhub.ami.pbx_rows import PbxRow, read_rows
from pbxhub.delivery.values import Links
from pbxhub.store.session import Database
from pbxhub.store.vault import Vault

_LOOK = 2.0  # seconds between two looks at the PBX rows
_CLOSE = 8.0  # seconds a line has to write what it heard before it is given up
log = structlog.get_logger(__name__)


async def listen(
    database: Database,
    vault: Vault,
    publish: Publish,
    stage_memory: int,
    stop: asyncio.Event,
    patience: Patience | None = None,
    public_url: str = "",
) -> None:
    """Listens to every enabled PBX until stop is set; then writes what was heard, within 8 s, and returns.

    publish(pbx_id, reports) writes reports in one transaction, in a thread of its own; repeatable.
    stage_memory: stages that may wait per PBX while the database is away (Settings.stage_memory).
    public_url: Settings.public_url, for the links in callbacks of ordered calls.
    """
    listener = _Listener(database, vault, publish, stage_memory, patience or Patience(), Links(vault, public_url))
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            try:
                await listener.look()
            except Exception:
                log.exception("a look at the PBX rows failed; the lines there are go on")
            await asyncio.wait({stopping}, timeout=_LOOK)
    finally:
        stopping.cancel()
        await listener.close()


class _Listener:
    def __init__(
        self, database: Database, vault: Vault, publish: Publish, stage_memory: int, patience: Patience, links: Links
    ) -> None:
        self._links = links
        self._database = database
        self._vault = vault
        self._publish = publish
        self._stage_memory = stage_memory
        self._patience = patience
        self._lines: dict[int, tuple[Line, asyncio.Task[None]]] = {}

    async def look(self) -> None:
        """Compares the lines with the rows: ends what is gone or changed or broken, begins what is new."""
        try:
            rows = await asyncio.to_thread(read_rows, self._database, self._vault)
        except SQLAlchemyError as error:
            log.warning("the PBX rows cannot be read; the lines there are go on", error=str(error))
            return
        wrong = [key for key, (line, task) in self._lines.items() if rows.get(key) != line.row or task.done()]
        await asyncio.gather(*(self._end(key) for key in wrong))
        for key in rows.keys() - self._lines.keys():
            self._begin(rows[key])

    def _begin(self, row: PbxRow) -> None:
        line = Line(row, self._database, self._publish, self._stage_memory, self._patience, self._links)
        self._lines[row.id] = line, asyncio.create_task(line.run())

    async def _end(self, key: int) -> None:
        line, task = self._lines.pop(key)
        if not task.done():
            closing = asyncio.create_task(line.close())
            await asyncio.wait({closing, task}, timeout=_CLOSE, return_when=asyncio.FIRST_COMPLETED)
            if not closing.done():
                log.error("a PBX was let go with stages unwritten", pbx=key, stages=line.unwritten)
            closing.cancel()
            task.cancel()
            await asyncio.wait({closing, task})
            _report(closing, key)
        _report(task, key)

    async def close(self) -> None:
        await asyncio.gather(*(self._end(key) for key in tuple(self._lines)))


def _report(task: asyncio.Task[None], key: int) -> None:
    """Logs what broke a line; it is begun again at the next look."""
    if not task.cancelled() and (error := task.exception()):
        log.error("the line to a PBX broke", pbx=key, exc_info=error)
