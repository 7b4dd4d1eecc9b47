"""The monitor's plan: which scenarios to run and when, from a TOML file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter

from pbxhub.testing.durations import limit


class PlanError(Exception):
    """The file is invalid. The message names the place and says what to write."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One scenario file: every function in it is run, each time its schedule (five cron fields) is due."""

    name: str
    file: Path
    schedule: str
    timeout: float  # seconds for the whole file
    tags: tuple[str, ...]
    env_files: tuple[Path, ...]

    def next_due(self, after: datetime) -> datetime:
        """The first time the schedule is due after that, in the time zone of `after`."""
        due: datetime = croniter(self.schedule, after).get_next(datetime)
        return due


@dataclass(frozen=True, slots=True)
class Plan:
    """host and port: where the metrics are shown. zone: the one the schedules are meant in."""

    host: str
    port: int
    zone: ZoneInfo
    scenarios: tuple[Planned, ...]


def read_plan(path: Path) -> Plan:
    """Reads the TOML file. Relative paths in it are meant from its folder. Raises PlanError."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PlanError(f"{path}: {error}") from None
    top = _Table(str(path), document)
    listen, zone = top.text("listen", "127.0.0.1:9177"), top.text("time_zone", "UTC")
    env_files = _files(top, "env_files", path.parent)
    tables = top.tables("scenario")
    top.refuse_unknown()
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise PlanError(f'{path}: listen = "{listen}": give an address and a port, "127.0.0.1:9177" for example')
    scenarios = tuple(_planned(table, path.parent, env_files) for table in tables)
    if not scenarios:
        raise PlanError(f"{path}: nothing to run: add a [[scenario]] with name, file and schedule")
    names = [one.name for one in scenarios]
    if len(set(names)) < len(names):
        raise PlanError(f"{path}: two scenarios have one name: {', '.join(sorted(names))}")
    try:
        return Plan(host, int(port), ZoneInfo(zone), scenarios)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        raise PlanError(f'{path}: time_zone = "{zone}" is not known: give a name like "Europe/Kyiv"') from None


def _planned(table: "_Table", folder: Path, env_files: tuple[Path, ...]) -> Planned:
    name = table.text("name")
    if not name or "/" in name:
        raise PlanError(f'{table.where}: name = "{name}": give a name without "/"; it is the last part of /run/NAME')
    schedule, timeout = table.text("schedule"), table.text("timeout", "2m")
    if len(schedule.split()) != 5 or not croniter.is_valid(schedule):
        raise PlanError(f'{table.where}: schedule = "{schedule}": give five cron fields, "*/5 * * * *" for example')
    try:
        length = limit(timeout)
    except ValueError as error:
        raise PlanError(f"{table.where}: timeout: {error}") from None
    planned = Planned(
        name,
        _file(table, table.text("file"), folder),
        schedule,
        length,
        table.texts("tags"),
        (*env_files, *_files(table, "env_files", folder)),
    )
    table.refuse_unknown()
    return planned


def _files(table: "_Table", key: str, folder: Path) -> tuple[Path, ...]:
    return tuple(_file(table, name, folder) for name in table.texts(key))


def _file(table: "_Table", name: str, folder: Path) -> Path:
    path = (folder / name).resolve()
    if not path.is_file():
        raise PlanError(f"{table.where}: there is no file {path}")
    return path


class _Table:
    """Reads the keys of one TOML table, and reports unknown ones."""

    def __init__(self, where: str, keys: Mapping[str, Any]) -> None:
        self.where = where
        self._keys = keys
        self._asked: set[str] = set()

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        if value is None:
            raise PlanError(f"{self.where}: {key} is missing")
        if not isinstance(value, str):
            raise PlanError(f"{self.where}: {key} must be a text in quotes, not {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise PlanError(f'{self.where}: {key} must be a list of texts, ["…"]')
        return tuple(value)

    def tables(self, key: str) -> "list[_Table]":
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise PlanError(f"{self.where}: write [[{key}]] in double brackets, once for each")
        return [_Table(f"{self.where}: [[{key}]] {number}", one) for number, one in enumerate(value, 1)]

    def refuse_unknown(self) -> None:
        unknown = sorted(set(self._keys) - self._asked)
        if unknown:
            keys = ", ".join(sorted(self._asked))
            raise PlanError(f"{self.where}: {unknown[0]} is not a key here; the keys are {keys}")

    def _get(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        return self._keys.get(key, default)
