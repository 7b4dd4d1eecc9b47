"""The PBX that plays recordings, for scenarios: it runs in a thread of its own, and its verbs return when done."""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from pbxhub.testing.pbx.pbx_player import PbxPlayer
from pbxhub.testing.pbx.recordings import FOLDER, Recording, freshen, read_recording

T = TypeVar("T")
Events = str | Path | Recording | Sequence[str]


class PlayedPbx:
    """An AMI server on loopback. Log in at host and port with username and secret."""

    host = "127.0.0.1"

    def __init__(self, port: int = 0) -> None:
        """port: 0 takes a free one."""
        self.player = PbxPlayer()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="played-pbx", daemon=True)
        self._thread.start()
        self._wait(self.player.start(port))

    @property
    def port(self) -> int:
        """Where AMI listens."""
        return self.player.port

    @property
    def username(self) -> str:
        """Of the only AMI user."""
        return self.player.username

    @property
    def secret(self) -> str:
        """Of the only AMI user."""
        return self.player.secret

    @property
    def listeners(self) -> int:
        """How many clients are logged in now."""
        return self.player.listeners

    @property
    def actions(self) -> list[dict[str, str]]:
        """Every action that clients sent, as a mapping of its headers, in order."""
        return list(self.player.actions)

    def play(self, events: Events, speed: float = 0) -> None:
        """Plays a call that begins now. speed: 1 as recorded, 2 twice as fast, 0 at once.

        events: the name of a shipped recording ("answered"), a file of one, a Recording, or a list of events written
        by hand, each a text of "Header: value" lines, sent as they are.
        """
        if isinstance(events, str | Path):
            events = read_recording(_file(events))
        if isinstance(events, Recording):
            self._wait(self.player.play(freshen(events, datetime.now(UTC)), speed))
            return
        for block in events:
            self._wait(self.player.send(_block(block)))

    def stop(self) -> None:
        """Ends as `core stop now` does: tells Shutdown and is gone."""
        self._wait(self.player.stop())

    def kill(self) -> None:
        """Gone without a word, calls too."""
        self._wait(self.player.kill())

    def start(self) -> None:
        """Comes back on the same port after stop() or kill(), as a PBX just started."""
        self._wait(self.player.start(self.port))

    def drop(self) -> None:
        """Cuts every connection; the calls live on."""
        self._loop.call_soon_threadsafe(self.player.drop)

    def close(self) -> None:
        """Ends it and its thread."""
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _file(name: str | Path) -> Path:
    shipped = FOLDER / f"{name}.ami"
    path = shipped if isinstance(name, str) and shipped.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.ami")))
        raise FileNotFoundError(f"there is no recording {name}: give a file, or one of {known}")
    return path


def _block(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())
