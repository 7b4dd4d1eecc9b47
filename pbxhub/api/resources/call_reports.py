"""The journal of calls for other programs: counted, and as files."""

from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.call_export import CALL_COLUMNS, exported_calls
from pbxhub.account.call_filter import CallFilter, extension_of
from pbxhub.account.call_report import report_calls
from pbxhub.api.authentication import needs, reading_project, reads
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.problems import wrong_field
from pbxhub.api.schemas import calls as schemas
from pbxhub.wsgi.current import hub
from pbxhub.wsgi.downloads import download

journal = Blueprint("journal", __name__, description="Calls as files, and reports on them")


@journal.get("/calls/report")
@journal.arguments(schemas.ReportFilter, location="query")
@journal.response(200, schemas.CallCounts)
@reads("account.read")
def report(session: Session, access: Access, wanted: dict[str, Any]) -> Any:
    """Calls, answered and missed ones, talk and wait, by employee or by number; all of them, or of a period."""
    by = wanted.pop("by")
    if by == "number" and wanted["direction"] not in ("", "incoming"):
        wrong_field("direction", "only incoming calls are counted by number: leave it out, or count by employee")
    return report_calls(session, access, CallFilter(**wanted), by)


@journal.get("/calls/export.csv")
@journal.arguments(schemas.CallFilter, location="query")
@journal.response(200, {"type": "string"}, content_type="text/csv")
@needs("account.read")
def as_csv(wanted: dict[str, Any]) -> Any:
    """The calls that are over, newest first, for spreadsheets."""
    return _file("csv", wanted)


@journal.get("/calls/export.jsonl")
@journal.arguments(schemas.CallFilter, location="query")
@journal.response(200, {"type": "string"}, content_type="application/x-ndjson")
@needs("account.read")
def as_json_lines(wanted: dict[str, Any]) -> Any:
    """The calls that are over, newest first, an object in each line."""
    return _file("jsonl", wanted)


def call_filter(session: Session, access: Access, wanted: dict[str, Any]) -> CallFilter:
    """The filter among the arguments of a request."""
    plain = {name: wanted[name] for name in _PLAIN}
    extensions = [wanted["extension"]] if wanted["extension"] else []
    if wanted["employee_id"] is not None:
        found = extension_of(session, access, wanted["employee_id"])
        extensions.append(wrong_field("employee_id", "is no employee of this project") if found is None else found)
    return CallFilter(whole_number=True, extensions=extensions, **plain)


_PLAIN = ("number", "direction", "result", "disposition", "since", "until", "did", "least_talk", "most_talk",
          "recorded")  # fmt: skip


def _file(kind: str, wanted: dict[str, Any]) -> Response:
    with reading_project() as (session, access):
        which = call_filter(session, access, wanted)
    return download(access, "calls", kind, CALL_COLUMNS, exported_calls(hub().database, access, which))
