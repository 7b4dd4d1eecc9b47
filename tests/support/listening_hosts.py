"""Several `pbxhub listen` on one PostgreSQL, each a process of its own, and the PBXs that they share."""

import asyncio
import os
import signal
import sys
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select, text

from pbxhub.store.accounts import Pbx
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.listeners import PbxLease
from pbxhub.store.session import Database
from pbxhub.testing.pbx.pbx_player import PbxPlayer
from pbxhub.testing.pbx.recordings import Recording
from pbxhub.testing.processes import Program
from tests.support.hub import VAULT, add_pbx
from tests.support.loop_thread import LoopThread
from tests.support.waiting import PATIENCE, wait_until

_WATCH = """
    CREATE TABLE written (who text, holder text);
    CREATE FUNCTION note_writer() RETURNS trigger AS $$ BEGIN
        INSERT INTO written SELECT current_setting('application_name'), h.host FROM pbx_lease l
          JOIN listener h ON h.id = l.listener_id
         WHERE l.pbx_id = (to_jsonb(NEW)->>CASE TG_TABLE_NAME WHEN 'pbx' THEN 'id' ELSE 'pbx_id' END)::bigint;
        RETURN NEW;
    END $$ LANGUAGE plpgsql;
    CREATE TRIGGER note_writer BEFORE UPDATE ON pbx FOR EACH ROW EXECUTE FUNCTION note_writer();
    CREATE TRIGGER note_writer BEFORE INSERT OR UPDATE ON live_call FOR EACH ROW EXECUTE FUNCTION note_writer();
    CREATE TRIGGER note_writer BEFORE INSERT ON call_events FOR EACH ROW EXECUTE FUNCTION note_writer();
"""
_MAIN = "; from pbxhub.cli import main; main()"


@dataclass
class Site:
    """The PBXs, on a loop of their own, and the listeners by name."""

    database: Database
    url: str
    folder: Path
    players: dict[int, PbxPlayer] = field(default_factory=dict)
    listeners: dict[str, Program] = field(default_factory=dict)
    _loop: LoopThread = field(default_factory=LoopThread)

    def add(self, number: int) -> None:
        for _ in range(number):
            player = PbxPlayer()
            self._loop.do(player.start())
            self.players[add_pbx(self.database, player)] = player

    def listen(self, name: str, plant: str = "pass", url: str = "", command: str = "listen", **more: str) -> None:
        """Starts a listener, or another command. plant: a bug, as Python that it runs first. url: where it finds the
        database. more: variables."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        variables = {
            "PBXHUB_DATA_DIR": str(folder), "PBXHUB_DATABASE_URL": url or self.url, "PBXHUB_AGI": "",
            "PBXHUB_SECRET_KEY": urlsafe_b64encode(VAULT.key).decode(), "PBXHUB_ALLOWED_NETWORKS": "127.0.0.0/8",
            "PGAPPNAME": name, **more,
        }  # fmt: skip
        words = (
            sys.executable,
            "-c",
            f"import socket; socket.gethostname = lambda: {name!r}; {plant}{_MAIN}",
            command,
        )
        self.listeners[name] = Program(words, folder / "log", environ=variables)

    def freeze(self, name: str) -> None:
        os.kill(self.listeners[name].pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        os.kill(self.listeners[name].pid, signal.SIGCONT)

    def leases(self) -> dict[int, PbxLease]:
        with self.database.read() as session:
            return {row.pbx_id: row for row in session.scalars(select(PbxLease))}

    def host_of(self, pbx_id: int) -> str:
        with self.database.read() as session:
            return session.get_one(Pbx, pbx_id).listener_host or ""

    def key_of(self, pbx_id: int) -> str:
        with self.database.read() as session:
            return session.get_one(Pbx, pbx_id).key

    def shares(self) -> list[int]:
        """How many PBXs each listener has, the most first."""
        return sorted(Counter(row.listener_id for row in self.leases().values() if row.listener_id).values())[::-1]

    def await_shares(self, *shares: int, seconds: float = PATIENCE) -> None:
        """Until the listeners have so many PBXs, and are logged in at them."""
        wait_until(lambda: self.shares() == list(shares) and self.heard(), f"shares of {shares}", seconds)

    def heard(self) -> bool:
        """Whether each PBX is connected to the listener that has it now."""
        since = {pbx_id: lease.since for pbx_id, lease in self.leases().items()}
        with self.database.read() as session:
            pbxs = session.scalars(select(Pbx)).all()
        return all(
            pbx.state == "connected" and pbx.state_since and pbx.state_since > since.get(pbx.id, pbx.created_on)
            for pbx in pbxs
        )

    def watch(self) -> None:
        """From now on the database notes who writes the state and the notes of which PBX, and who has it then."""
        with self.database.write() as session:
            session.execute(text(_WATCH))

    def strangers(self) -> list[tuple[str, str]]:
        """Writer and holder, where they were not the same."""
        with self.database.read() as session:
            rows = session.execute(text("SELECT DISTINCT who, holder FROM written WHERE who <> '' AND who <> holder"))
            return [(who, holder) for who, holder in rows]

    def play(self, recording: Recording, pbx_id: int) -> None:
        self._loop.do(self.players[pbx_id].play(recording, speed=0))

    def stages(self) -> dict[str, list[str]]:
        """The stages of each call, in the order they were written."""
        query = select(Call.linkedid, Call.pbx_id, StageEvent.stage).join(Call, Call.id == StageEvent.call_id)
        found: dict[str, list[str]] = {}
        with self.database.read() as session:
            for linkedid, pbx_id, stage in session.execute(query.order_by(StageEvent.id)):
                found.setdefault(f"{pbx_id} {linkedid}", []).append(stage)
        return found

    def close(self) -> None:
        for name, listener in self.listeners.items():
            if listener.running:
                self.thaw(name)
            listener.kill()
        for player in self.players.values():
            self._loop.do(player.kill())
        self._loop.close()


@contextmanager
def site(database: Database, url: str, folder: Path, pbxs: int) -> Iterator[Site]:
    one = Site(database, url, folder)
    try:
        one.add(pbxs)
        yield one
    finally:
        one.close()


class Cable:
    """A TCP connection that can be cut: from then on nothing arrives, and nobody is told."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._ends: list[asyncio.StreamWriter] = []
        self._whole = asyncio.Event()
        self._whole.set()
        self._loop = LoopThread()
        self._loop.do(self._serve())

    def cut(self) -> None:
        self._loop.call(self._whole.clear)

    def mend(self) -> None:
        self._loop.call(self._whole.set)

    def close(self) -> None:
        for end in self._ends:
            self._loop.call(end.transport.abort)
        self._loop.call(self._server.close)
        self._loop.close()

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        there, here = await asyncio.open_connection("127.0.0.1", self._to)
        self._ends += (writer, here)
        await asyncio.gather(self._carry(reader, here), self._carry(there, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()
