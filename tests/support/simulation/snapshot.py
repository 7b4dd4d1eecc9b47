"""What is committed at a moment, read past the code under test. Times are microseconds since 1970."""

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.support.simulation.network import AttemptName


class DeliveryRow(NamedTuple):
    id: str
    webhook_id: int
    stage_event_id: str
    sequence_id: str
    kind: str
    state: str
    due_at: int
    claim_token: str | None
    attempts: int
    tries: int
    held: int
    out_of_order: int
    outcome: str


class AttemptRow(NamedTuple):
    delivery_id: str
    number: int
    started_on: int
    finished_on: int | None
    outcome: str


class StageRow(NamedTuple):
    id: str
    linkedid: str
    stage: str
    key: str


@dataclass
class Snapshot:
    """paused: since when each webhook is paused. stages: in the order in which they were written."""

    deliveries: dict[str, DeliveryRow] = field(default_factory=dict)
    attempts: dict[AttemptName, AttemptRow] = field(default_factory=dict)
    paused: dict[int, int | None] = field(default_factory=dict)
    stages: list[StageRow] = field(default_factory=list)
    open_calls: list[str] = field(default_factory=list)


class Watcher:
    """A connection of its own: it sees only what is committed. called: the webhook_called events of each attempt."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        self._version = -1
        self._last_event = 0
        self.called = Counter[AttemptName]()
        self.told = Counter[str]()  # the call_stage events of each stage

    def has_changed(self) -> bool:
        before = self._version
        (self._version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return bool(self._version != before)

    def has_attempt(self, name: AttemptName) -> bool:
        found = self._connection.execute("SELECT 1 FROM attempt WHERE delivery_id = ? AND number = ?", name)
        return found.fetchone() is not None

    def read(self) -> Snapshot:
        self._read_events()
        ask = self._connection.execute
        deliveries = map(DeliveryRow._make, ask(f"SELECT {', '.join(DeliveryRow._fields)} FROM delivery ORDER BY id"))
        attempts = map(AttemptRow._make, ask(f"SELECT {', '.join(AttemptRow._fields)} FROM attempt"))
        stages = ask(
            "SELECT s.id, c.linkedid, s.stage, s.key FROM stage_event s JOIN call c ON c.id = s.call_id ORDER BY s.id"
        )
        return Snapshot(
            {row.id: row for row in deliveries},
            {(row.delivery_id, row.number): row for row in attempts},
            dict(ask("SELECT id, paused_on FROM webhook")),
            [StageRow._make(row) for row in stages],
            [row[0] for row in ask("SELECT linkedid FROM call WHERE ended_on IS NULL")],
        )  # fmt: skip

    def _read_events(self) -> None:
        rows = self._connection.execute(
            "SELECT id, type, data FROM event WHERE id > ? ORDER BY id", (self._last_event,)
        )
        for self._last_event, kind, text in rows:
            data = json.loads(text)
            if kind == "webhook_called":
                self.called[data["delivery_id"].replace("-", ""), data["attempt"]] += 1
            elif kind == "call_stage":
                self.told[data["event_id"].replace("-", "")] += 1

    def close(self) -> None:
        self._connection.close()
