"""Exports of any length as answers, of the pages and of the API."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from flask import Response

from pbxhub.account.access import Access
from pbxhub.account.exported_text import MIMETYPES, text_of
from pbxhub.wsgi.current import hub


def download(
    access: Access, name: str, kind: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> Response:
    """A file that is sent while its rows are read. kind: one of MIMETYPES. It holds a thread of the server until its
    reader has all of it or goes away: raises BusyError when the hub, or the project, has enough of them."""
    held = ExitStack()
    response = Response(_holding(held, text_of(kind, columns, rows)), mimetype=MIMETYPES[kind])
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    held.enter_context(hub().downloads.one(access.project.id))
    response.call_on_close(held.close)  # also of one that nobody has begun to read
    return response


def _holding(held: ExitStack, pieces: Iterator[str]) -> Iterator[str]:
    with held:
        yield from pieces
