"""Runs by their seeds: the same seed gives the same run. A run that fails is made as short as possible."""

import atexit
import hashlib
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from pbxhub.store.migrate import migrate
from pbxhub.store.session import open_database
from tests.support.simulation.planted_bugs import planted
from tests.support.simulation.process import Seat
from tests.support.simulation.rules import BrokenRuleError
from tests.support.simulation.steps import draw
from tests.support.simulation.world import PEOPLE, World

STEPS = 150  # of one run
_MEMORY = Path("/dev/shm")
_MOST_TRIES = 150  # to make a run shorter


@dataclass(frozen=True, slots=True)
class Run:
    """steps: the names of those that were taken. broken: which rule, and "" if none. digest: of everything that was
    committed after each step."""

    seed: int
    taken: tuple[int, ...]
    steps: tuple[str, ...]
    broken: str
    digest: str


@cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="simulation-", dir=_MEMORY if _MEMORY.is_dir() else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@cache
def _migrated() -> bytes:
    """An empty database."""
    path = _folder() / "migrated.sqlite3"
    database = open_database(f"sqlite:///{path}")
    migrate(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path.read_bytes()


@cache
def _seats() -> tuple[Seat, ...]:
    return tuple(Seat(f"sqlite:///{_folder() / 'run.sqlite3'}") for _ in range(PEOPLE + 1))


def _fresh() -> tuple[Seat, ...]:
    """The seats of an empty database, in the file of the one before: no connection to that is open."""
    for log in _folder().glob("run.sqlite3-*"):
        log.unlink()
    (_folder() / "run.sqlite3").write_bytes(_migrated())
    return _seats()


def run(seed: int, taken: Sequence[int] = range(STEPS), bug: str = "") -> Run:
    """Takes the steps with these numbers, and lets everything come to its end. bug: one of planted_bugs.py."""
    names: list[str] = []
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(prefix="run-", dir=_folder()) as folder, planted(bug):
        world = World(f"{seed}", _fresh(), Path(folder))
        broken = ""
        try:
            for number in taken:
                world.chance = Random(f"{seed}/{number}")
                random.seed(f"{seed}/{number}/chance")
                step = draw(world.chance)
                names.append(step.__name__)
                step(world)
                digest.update(repr(world.seen).encode())
            names.append("settle")
            random.seed(f"{seed}/settle")
            world.settle()
            digest.update(repr(world.seen).encode())
        except BrokenRuleError as error:
            broken = str(error)
        finally:
            world.close()
    return Run(seed, tuple(taken), tuple(names), broken, digest.hexdigest())


def shorten(failed: Run, bug: str = "") -> Run:
    """The shortest run found that breaks a rule: without the steps that are not needed."""
    tries = _MOST_TRIES
    best = run(failed.seed, failed.taken[: len(failed.steps)], bug)
    best = best if best.broken else failed
    size = len(best.taken) // 2
    while size and tries:
        start = 0
        while start < len(best.taken) and tries:
            shorter = run(best.seed, best.taken[:start] + best.taken[start + size :], bug)
            tries -= 1
            if shorter.broken:
                best = shorter
            else:
                start += size
        size //= 2
    return best
