"""A PostgreSQL server for tests and benchmarks: a temporary cluster on loopback, deleted when it is closed."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from pbxhub.testing.processes import free_port

_DEBIAN = Path("/usr/lib/postgresql")


class PostgresMissingError(Exception):
    """This machine has no PostgreSQL server programs. The message says how to install them."""


@contextmanager
def postgres_server(durable: bool = False) -> Iterator[str]:
    """Starts a server and yields the SQLAlchemy URL of its empty database "pbxhub".

    durable: commits reach the disk, as in production (benchmarks, kill tests); otherwise the server is fast.
    """
    folder = Path(tempfile.mkdtemp(prefix="pbxhub-pg-"))
    try:
        cluster = Cluster(folder, durable)
        cluster.create()
        cluster.start()
        try:
            yield cluster.url("pbxhub")
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """One cluster in one folder: create, start, kill, start again, stop. Or a standby: follow, start, promote."""

    def __init__(self, folder: Path, durable: bool) -> None:
        self._folder = folder
        self._programs = programs()
        self._durable = durable
        self._copies = 0
        self.port = free_port()
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

    def create(self, settings: Mapping[str, str] | None = None) -> None:
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(self._folder, self._user, self._user)
        self._run(
            "initdb", "-D", str(self._data), "-U", "pbxhub", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"
        )
        self._set(settings or {})

    def follow(self, primary: "Cluster", settings: Mapping[str, str]) -> None:
        """Becomes a standby of a running primary, whatever it was before: start() it then. settings: its own from now
        on, also when it is promoted."""
        self._copies += 1  # files of a killed server may still be in use for a moment
        if os.geteuid() == 0:
            shutil.chown(self._folder, self._user, self._user)
        source = f"host=127.0.0.1 port={primary.port} user=pbxhub"
        self._run("pg_basebackup", "-D", str(self._data), "-d", source, "-R", "-c", "fast", "-N")
        self._set(settings)

    def _set(self, settings: Mapping[str, str]) -> None:
        with (self._data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def promote(self) -> None:
        """The standby takes writes from now on. Raises RuntimeError when it does not within a minute."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", "60", "promote")

    def start(self) -> None:
        sync = "" if self._durable else " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self._folder} -c max_connections=200{sync}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", "60", "-l", log, "-o", options, "start")
        psql = [
            str(self._programs / "psql"),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "pbxhub",
            "-qtA",
            "postgres",
        ]
        there = subprocess.run([*psql, "-c", "select 1 from pg_database where datname='pbxhub'"], capture_output=True)
        if not there.stdout.strip():
            subprocess.run([*psql, "-c", "create database pbxhub"], check=True, capture_output=True)

    def stop(self, mode: str = "immediate") -> None:
        """mode: pg_ctl's own, "fast" for a clean stop, "immediate" for a stop without one."""
        self._run("pg_ctl", "-D", str(self._data), "-m", mode, "-w", "stop")

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return int((self._data / "postmaster.pid").read_text().splitlines()[0])

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://pbxhub@127.0.0.1:{self.port}/{quote(name)}"

    @property
    def _data(self) -> Path:
        return self._folder / (f"data-{self._copies}" if self._copies else "data")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--init-groups", *command]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")


def programs() -> Path:
    """The folder of the server's programs, the newest that is there. Raises PostgresMissingError."""
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and not on_path:
        raise PostgresMissingError("PostgreSQL's server programs are missing: apt-get install postgresql")
    return found[-1].parent if found else Path(on_path or "").resolve().parent
