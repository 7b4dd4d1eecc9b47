"""The pages as they are served to people: `pbxhub run` or `pbxhub web` in processes of their own, on a real socket."""

import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import requests

from pbxhub.account.tokens import hash_of
from pbxhub.store.accounts import ApiKey, Project
from pbxhub.store.session import Database
from pbxhub.testing.processes import Program, free_port
from tests.support.waiting import wait_until

KEY = b"k" * 32
_COMMAND = (sys.executable, "-c", "from pbxhub.cli import main; main()")


@dataclass(frozen=True)
class Pages:
    """A server of the pages. workers: the processes of `web`, none of `run`."""

    program: Program
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[int]:
        return children(self.program.pid)

    def health(self, timeout: float = 5) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=timeout).ok
        except requests.RequestException:
            return False

    def said(self) -> str:
        return self.program.log.read_text(errors="replace")


@contextmanager
def serving_pages(
    command: str, database_url: str, folder: Path, settings: Mapping[str, str] | None = None,
    program: tuple[str, ...] = _COMMAND, ends_well: bool = True,
) -> Iterator[Pages]:  # fmt: skip
    """Until it is left: command is "run" or "web". ends_well: fails when the server does not stop when it is told."""
    port = free_port()
    environ = {
        "PBXHUB_DATA_DIR": str(folder / "data"), "PBXHUB_DATABASE_URL": database_url, "PBXHUB_PORT": str(port),
        "PBXHUB_AGI": "", "PBXHUB_SECRET_KEY": urlsafe_b64encode(KEY).decode(), **(settings or {}),
    }  # fmt: skip
    pages = Pages(Program([*program, command], folder / f"{command}.log", environ=environ), port)
    try:
        wait_until(lambda: pages.health() or not pages.program.running, "the pages are there")
        assert pages.program.running, pages.said()
        yield pages
    finally:
        status = pages.program.stop(15)
    assert status == 0 or not ends_well, pages.said()


def projects_with_keys(database: Database, *names: str) -> dict[str, str]:
    """A project of each name, and the key that opens it."""
    now = datetime.now(UTC)
    keys = {name: f"pbx_of_{name}" for name in names}
    with database.write() as session:
        for name, key in keys.items():
            project = Project(name=name, created_on=now)
            session.add(project)
            session.flush()
            row = ApiKey(project_id=project.id, name="test", key_hash=hash_of(key), prefix=key[:8],
                         scopes=["read"], created_on=now)  # fmt: skip
            session.add(row)
    return keys


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def open_files(pid: int) -> set[str]:
    """What its descriptors lead to: a path, or the inode of a socket or pipe."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(link.readlink()))
        except OSError:
            continue
    return found


def sockets(pid: int) -> set[str]:
    return {each for each in open_files(pid) if each.startswith("socket:")}
