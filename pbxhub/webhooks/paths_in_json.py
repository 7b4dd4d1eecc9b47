"""Paths like `a.b[0].c` into JSON."""

import re
from typing import Any

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
