"""Keeps the rows of all PBXs of the process up to date: a new state at once, the rest every few seconds, together."""

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog

from pbxhub.ami.pbx_rows import Observed, write_observed
from pbxhub.store.database_errors import is_away
from pbxhub.store.session import Database

_SHOW = 1.0  # seconds until a new state is in the row
_BETWEEN = 5.0  # seconds between writes of what changes constantly: time and number of events
_ALIVE = 15.0  # seconds between writes when nothing changed: a fresh row shows that the listener runs
log = structlog.get_logger(__name__)


class ObservedStates:
    """run() writes what the PBX listeners of this process observe, until it is cancelled."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sources: dict[int, Callable[[], Observed | None]] = {}
        self._shown: dict[int, Observed] = {}
        self._written = self._all_written = 0.0  # time.monotonic()

    def add(self, pbx_id: int, source: Callable[[], Observed | None]) -> None:
        """source: what its listener observes now; None while its stages cannot be written either."""
        self._sources[pbx_id] = source
        self._shown.pop(pbx_id, None)

    def remove(self, pbx_id: int, source: Callable[[], Observed | None]) -> None:
        if self._sources.get(pbx_id) == source:
            del self._sources[pbx_id]
            self._shown.pop(pbx_id, None)

    async def run(self) -> None:
        """All rows are written at the same moment, in one commit: fifty that each keep their own time take fifty."""
        while True:
            now = time.monotonic()
            try:
                if due := self._due(now):
                    await asyncio.to_thread(self._write, due)
            except Exception:
                log.exception("PBX states could not be read; trying again")
            await asyncio.sleep(_SHOW)

    def _due(self, now: float) -> Mapping[int, Observed]:
        found = {pbx_id: seen for pbx_id, source in self._sources.items() if (seen := source()) is not None}
        if now - self._all_written >= _ALIVE:
            self._written = self._all_written = now
            return found
        changed = {pbx_id: seen for pbx_id, seen in found.items() if seen != self._shown.get(pbx_id)}
        if now - self._written >= _BETWEEN:
            self._written = now
            return changed
        return {pbx_id: seen for pbx_id, seen in changed.items() if self._is_new_state(pbx_id, seen)}

    def _is_new_state(self, pbx_id: int, seen: Observed) -> bool:
        shown = self._shown.get(pbx_id)
        return shown is None or shown.observed.state != seen.observed.state

    def _write(self, due: Mapping[int, Observed]) -> None:
        """A row that the database rejects does not keep the others from being written."""
        try:
            write_observed(self._database, list(due.values()))
        except Exception as error:
            if is_away(error):
                log.warning("PBX states could not be written; trying again", error=str(error))
                return
            if len(due) == 1:
                log.exception("the database rejected the state of a PBX; skipping it", pbx=next(iter(due)))
            else:
                for pbx_id, seen in due.items():
                    self._write({pbx_id: seen})
        self._shown.update(due)
