"""The stages that the hub derives from CEL alone, as if it had been stopped during the calls."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from pbxhub.calls.cel_calls import BEFORE_ALL, CelCalls, Place, reports_of
from pbxhub.calls.cel_rows import read_row
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker
from pbxhub.testing.random_calls.compare import Difference, rough_differences
from pbxhub.testing.random_calls.lab import Outcome
from pbxhub.testing.random_calls.listening import calls_of


def compare_with_cel(database: Path, outcomes: Sequence[Outcome]) -> list[tuple[Outcome, Difference]]:
    """The differences from what the phones saw, in direction, answered, who answered first, and disposition."""
    reports = list(_told(database))
    return [(outcome, difference) for outcome in outcomes for difference in _differences(outcome, reports)]


def _told(database: Path) -> Iterator[CallReport]:
    calls = CelCalls()
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        for row in connection.execute("SELECT * FROM cel ORDER BY AcctId"):
            calls.add(Place(BEFORE_ALL), read_row(dict(row)), 0.0)
    trunks: set[str] = set()
    for call in calls:  # a hub knows its trunks from earlier calls
        tracker = Tracker()
        reports_of(call, tracker, call.last, "lost_while_disconnected")
        trunks.update(tracker.trunks)
    for call in calls:
        tracker = Tracker()
        tracker.restore({}, trunks)
        yield from reports_of(call, tracker, call.last, "lost_while_disconnected")


def _differences(outcome: Outcome, reports: Sequence[CallReport]) -> list[Difference]:
    if outcome.failed:
        return []
    return rough_differences(outcome.saw, calls_of(reports, outcome.cell, outcome.began, outcome.ended))
