"""Exported rows as CSV and as JSON lines, piece by piece."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

MIMETYPES = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
"""By the kind of an export, which is also the end of its file's name."""

_BATCH = 200  # rows of one piece: a piece for each row would be a packet for each row


def text_of(kind: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """kind: one of MIMETYPES. columns: the names in each row."""
    lines = _csv(columns, rows) if kind == "csv" else (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    piece: list[str] = []
    for line in lines:
        piece.append(line)
        if len(piece) == _BATCH:
            yield "".join(piece)
            piece.clear()
    yield "".join(piece)


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield "\ufeff" + _csv_line(columns)
    for row in rows:
        yield _csv_line([harmless(_cell(value)) for value in row.values()])


def _cell(value: Any) -> Any:
    """A list of objects as a text: 101 12 NO ANSWER; 102 4 ANSWERED."""
    if not isinstance(value, list):
        return value
    return "; ".join(" ".join(str(part) for part in item.values() if part is not None) for item in value)


def _csv_line(values: Iterable[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(values)
    return buffer.getvalue()


def harmless(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula gets an apostrophe, in front of each place where one may begin:
    the start, and what a spreadsheet that expects another separator takes for the next cell. A phone number stays as
    it is: as a formula, +380441234567 is that number."""
    return value if not isinstance(value, str) or _PHONE.fullmatch(value) else _FORMULA.sub(r"\1'\2", value)


_PHONE = re.compile(r"\+[0-9]{2,20}", re.ASCII)
# The signs of OWASP's page on CSV injection, the full-width ones of East Asian spreadsheets, and what stands unseen
# before them. A line break or a tab is where a cell may begin, too, the first of several.
_UNSEEN = r"[\s\x00-\x20\u200b\ufeff]"
_FORMULA = re.compile(rf"(^|[;,\"]|(?<!{_UNSEEN})[\t\r\n])({_UNSEEN}*+[=+\-@|%\uff1d\uff0b\uff0d\uff20])")
