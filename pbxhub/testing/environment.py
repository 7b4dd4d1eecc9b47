"""Settings of a scenario: environment variables and .env files, so that scripts contain no passwords."""

import os
import sys
from pathlib import Path
from typing import overload

from dotenv import dotenv_values

_loaded: dict[str, str] = {}


class EnvironmentMissingError(Exception):
    """A variable or file that the scenario needs is missing. The message says how to provide it."""


@overload
def env(name: str) -> str: ...
@overload
def env(name: str, default: str) -> str: ...
def env(name: str, default: str | None = None) -> str:
    """The variable's value: from files given to load_env, otherwise from the process, otherwise the default.

    Raises EnvironmentMissingError when it is nowhere and there is no default.
    """
    __tracebackhide__ = True
    value = _loaded.get(name, os.environ.get(name, default))
    if value is None:
        raise EnvironmentMissingError(
            f"the scenario needs the variable {name}: run it with {name}=… before the command, "
            f"or put the line {name}=… into a file and give it by --env-file or load_env()"
        )
    return value


def load_env(path: str | Path) -> dict[str, str]:
    """Reads KEY=VALUE lines of a .env file into env() for the rest of the run; later files win. Returns what it read.

    A relative path is looked for beside the script that calls, then in the working directory.
    """
    script = sys._getframe(1).f_globals.get("__file__")
    beside = Path(script).resolve().parent / path if script else Path(path)
    file = beside if beside.is_file() else Path(path)
    if not file.is_file():
        raise EnvironmentMissingError(f"there is no file {beside}: write KEY=VALUE lines into it, or correct the path")
    read = {name: value for name, value in dotenv_values(file, interpolate=False).items() if value is not None}
    _loaded.update(read)
    return read


def forget_loaded() -> None:
    """Forgets every file given to load_env."""
    _loaded.clear()
