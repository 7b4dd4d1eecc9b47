"""Calls and deliveries as CSV and JSON lines, with the filters of their lists."""

from collections.abc import Iterator, Sequence
from typing import Any

from flask import Blueprint, Response, abort
from flask.typing import ResponseReturnValue

from pbxhub.account.access import Access
from pbxhub.account.call_export import CALL_COLUMNS, exported_calls
from pbxhub.account.deliveries import exported
from pbxhub.account.exported_text import MIMETYPES
from pbxhub.account.secret_visibility import visible_text
from pbxhub.redaction import redact_url
from pbxhub.store.session import Database
from pbxhub.web.call_list_filter import calls_of_request
from pbxhub.web.delivery_filter import DeliveryFilter
from pbxhub.web.page_access import enter, reading_project
from pbxhub.wsgi.current import hub, reading
from pbxhub.wsgi.downloads import download

pages = Blueprint("exports", __name__, url_prefix="/projects/<int:project_id>/export")

_COLUMNS = ("id", "time", "webhook", "stage", "caller", "called", "state", "outcome", "status_code", "message",
            "attempts", "duration_ms", "method", "url")  # fmt: skip


@pages.get("/calls.<kind>")
def calls(project_id: int, kind: str) -> ResponseReturnValue:
    """Every call of the filter that is over, newest first. kind: csv or jsonl."""
    with reading_project(project_id) as (session, access):
        wanted = calls_of_request(session, access).selection
    return _file(access, "calls", kind, CALL_COLUMNS, exported_calls(hub().database, access, wanted))


@pages.get("/<which>.<kind>")
def deliveries(project_id: int, which: str, kind: str) -> ResponseReturnValue:
    """which: deliveries or errors; kind: csv or jsonl. At most deliveries.MOST_EXPORTED rows, newest first."""
    if which not in ("deliveries", "errors"):
        abort(404)
    with reading() as session:
        access = enter(session, project_id)
    wanted = DeliveryFilter.of_request(access, unchecked=which == "errors")
    return _file(access, which, kind, _COLUMNS, _rows(hub().database, access, wanted))


def _file(access: Access, which: str, kind: str, columns: Sequence[str], rows: Iterator[dict[str, Any]]) -> Response:
    return download(access, which, kind, columns, rows) if kind in MIMETYPES else abort(404)


def _rows(database: Database, access: Access, wanted: DeliveryFilter) -> Iterator[dict[str, Any]]:
    for row, webhook, stage, call in exported(database, access.project.id, wanted.selection, wanted.state):
        caller, dst = (call.caller, call.dst) if call else ("", "")
        values = (
            str(row.id), row.created_on.isoformat(), webhook, stage or "", caller, dst, row.state,
            row.outcome, row.status_code, visible_text(access, row.message), row.attempts, row.duration_ms, row.method,
            redact_url(row.url),
        )  # fmt: skip
        yield dict(zip(_COLUMNS, values, strict=True))
