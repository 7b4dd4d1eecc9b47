"""Paging by key: the next page starts after the last row of this one, so that all pages cost the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from flask import request

PAGE = 50
_MOST = 500  # rows shown at once
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows of one page and the key where the next one starts ("" on the last page)."""

    rows: Sequence[T]
    next_key: str = ""

    @property
    def shown(self) -> int:
        """How many rows the browser shows once it has these."""
        return len(self.rows) + (_rows() if "before" in request.args else 0)


def page_size() -> int:
    """How many rows this request asks for: 50, or as many as were shown when the reader left the page (?rows=)."""
    return PAGE if "before" in request.args else min(max(_rows(), PAGE), _MOST)


def _rows() -> int:
    text = request.args.get("rows", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def uuid_key() -> UUID | None:
    """The key of the request's ?before=, for lists ordered by an id; None on the first page or when it is nonsense."""
    return read_uuid(request.args.get("before", ""))


def read_uuid(text: str) -> UUID | None:
    """The id behind a text, None when it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None
