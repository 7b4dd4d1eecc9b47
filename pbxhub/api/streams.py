"""Server-sent events: who may have a stream open, and what is sent on it."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flask import Flask, current_app
from sqlalchemy import ColumnElement

from pbxhub.api.problems import refuse
from pbxhub.delivery.event_stream import shown
from pbxhub.store.events import Position, newest, read_after
from pbxhub.store.session import Database

STREAM_SECONDS = 300.0  # then the client reconnects with its Last-Event-ID
Visible = Callable[[Mapping[str, Any]], dict[str, Any]]
"""What the reader may see of an event."""
_LOOK = 0.5
_BEAT = 2.0  # seconds between writes; the next write notices a client that has gone and frees its place
_AT_ONCE = 200


def install(api: Flask, most: int) -> None:
    """most: streams of this process at once; each holds a thread of the server."""
    api.extensions["pbxhub.streams"] = Places(most)


def places() -> "Places":
    """Those of the application that answers this request."""
    found: Places = current_app.extensions["pbxhub.streams"]
    return found


class Places:
    """The streams that are open in this process, by project: one project may take half of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_a_project = max(1, most // 2)
        self._open = Counter[int]()
        self._lock = threading.Lock()

    def take(self, project_id: int) -> None:
        """Refuses with 429 when the project has its share, with 503 when the process has no thread to spare."""
        with self._lock:
            if self._open[project_id] >= self._most_of_a_project:
                sentence = f"This project has {self._most_of_a_project} streams open already; close one, or share one."
                refuse(429, sentence, Retry_After="30")
            if self._open.total() >= self._most:
                refuse(503, f"{self._most} streams are open already; that is all this server has.", Retry_After="30")
            self._open[project_id] += 1

    def give_back(self, project_id: int) -> None:
        with self._lock:
            self._open[project_id] -= 1


def follow(
    database: Database, project_id: int, after: Position, which: Sequence[ColumnElement[bool]], visible: Visible
) -> Iterator[str]:
    """Events after a place. Sends the place at once and at intervals, even when no event matched: a client reconnects
    there, and one that has gone is noticed."""
    ends, beat = time.monotonic() + STREAM_SECONDS, time.monotonic() + _BEAT
    yield f"retry: 1000\nid: {after}\n\n"
    while time.monotonic() < ends:
        with database.read() as session:
            known = newest(session)
            rows = read_after(session, project_id, after, _AT_ONCE, *which, up_to=known)
            found = [visible(event) for event in shown(session, rows)]
        for event in found:
            yield f"id: {event['id']}\nevent: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"
        if len(rows) == _AT_ONCE:
            after = Position(rows[-1].id)
            continue
        after = max(after, known)
        if time.monotonic() > beat:
            beat = time.monotonic() + _BEAT
            yield f": nothing new\nid: {after}\n\n"
        time.sleep(_LOOK)
