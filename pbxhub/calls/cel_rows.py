"""A row of Asterisk's CEL, as text, whatever database it was read from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from pbxhub.calls.ami_headers import YEAR_2100, clean, unless_hidden


@dataclass(frozen=True, slots=True)
class CelRow:
    """One row, every column as text under its own name."""

    eventtype: str
    eventtime: str
    cidname: str
    cidnum: str
    ciddnid: str
    exten: str
    context: str
    channame: str
    appname: str
    appdata: str
    uniqueid: str
    linkedid: str
    peer: str
    userfield: str
    userdeftype: str
    eventextra: str

    @property
    def extra(self) -> Mapping[str, str]:
        """eventextra is a JSON object; anything else counts as empty."""
        try:
            found = json.loads(self.eventextra)
        except ValueError:
            return {}
        return {name: clean(str(value)) for name, value in found.items()} if isinstance(found, dict) else {}

    @property
    def time(self) -> float:
        """Seconds since 1970; 0.0 when unreadable. A text (dateformat in cel.conf) is read as UTC."""
        return seconds_of(self.eventtime)


def seconds_of(eventtime: str) -> float:
    """A CEL time, number or text, as seconds since 1970; 0.0 when unreadable."""
    try:
        time = float(eventtime)
    except ValueError:
        time = _time_of_text(eventtime)
    return time if 0.0 < time < YEAR_2100 else 0.0


def _time_of_text(text: str) -> float:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


_COLUMNS = tuple(field.name for field in fields(CelRow))


def read_row(columns: Mapping[str, object]) -> CelRow:
    """Reads a row of the database; missing columns are empty, and so is a hidden number. eventextra is not shortened,
    because it is JSON."""
    texts = {name: "" if columns.get(name) is None else str(columns[name]) for name in _COLUMNS}
    row = {name: text if name == "eventextra" else clean(text) for name, text in texts.items()}
    return CelRow(**{**row, "cidnum": unless_hidden(row["cidnum"])})
