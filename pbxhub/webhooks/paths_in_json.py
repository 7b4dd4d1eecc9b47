"""The JSON of a receiver's answer, and paths like `a.b[0].c` into it."""

import re
from typing import Any

from pbxhub.json_depth import read_any_json

_STEP = re.compile(r"(?:^|\.)([^\s.\[\]<>|:]+)|\[(\d{1,9})\]")
Path = tuple[str | int, ...]
MISSING = object()


def parse_path(text: str) -> Path | None:
    """The steps of a path; None when the text is not a path. An index may be written [0] or .0"""
    steps: list[str | int] = []
    end = 0
    for match in _STEP.finditer(text):
        if match.start() != end:
            return None
        key, index = match.groups()
        steps.append(key if key is not None else int(index))
        end = match.end()
    return tuple(steps) if steps and end == len(text) else None


def walk(data: Any, path: Path) -> Any:
    """The value at the path, or MISSING. null is a value, not missing."""
    for step in path:
        if isinstance(data, dict):
            data = data.get(str(step), MISSING)
        elif isinstance(data, list) and str(step).isascii() and str(step).isdigit() and int(step) < len(data):
            data = data[int(step)]
        else:
            return MISSING
    return data


def json_or_missing(body: bytes) -> Any:
    """The body as JSON; MISSING when it is not JSON or nested too deep. Never raises, because a receiver may answer
    anything. json_reader reads what programs send to the hub."""
    try:
        return read_any_json(body)
    except ValueError:
        return MISSING
