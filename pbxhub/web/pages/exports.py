"""Deliveries as CSV and JSON lines, with the filters of the list."""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, abort
from flask.typing import ResponseReturnValue

from pbxhub.account.access import Access
from pbxhub.account.deliveries import exported
from pbxhub.account.secret_visibility import visible_text
from pbxhub.redaction import redact_url
from pbxhub.store.session import Database
from pbxhub.web.delivery_filter import DeliveryFilter
from pbxhub.web.page_access import enter
from pbxhub.wsgi.current import hub, reading

pages = Blueprint("exports", __name__, url_prefix="/projects/<int:project_id>/export")

_COLUMNS = ("id", "time", "webhook", "stage", "caller", "called", "state", "outcome", "status_code", "message",
            "attempts", "duration_ms", "method", "url")  # fmt: skip


@pages.get("/<which>.<kind>")
def deliveries(project_id: int, which: str, kind: str) -> ResponseReturnValue:
    """which: deliveries or errors; kind: csv or jsonl. At most deliveries.MOST_EXPORTED rows, newest first."""
    if which not in ("deliveries", "errors") or kind not in ("csv", "jsonl"):
        abort(404)
    with reading() as session:
        access = enter(session, project_id)
    wanted = DeliveryFilter.of_request(access, unchecked=which == "errors")
    rows = _rows(hub().database, access, wanted)
    content, mimetype = (_csv(rows), "text/csv") if kind == "csv" else (_lines(rows), "application/x-ndjson")
    name = f'attachment; filename="{which}.{kind}"'
    return Response(content, mimetype=mimetype, headers={"Content-Disposition": name})


def _rows(database: Database, access: Access, wanted: DeliveryFilter) -> Iterator[dict[str, Any]]:
    for row, webhook, stage, caller, dst, _direction in exported(
        database, access.project.id, wanted.selection, wanted.state
    ):
        values = (
            str(row.id), row.created_on.isoformat(), webhook, stage or "", caller or "", dst or "", row.state,
            row.outcome, row.status_code, visible_text(access, row.message), row.attempts, row.duration_ms, row.method,
            redact_url(row.url),
        )  # fmt: skip
        yield dict(zip(_COLUMNS, values, strict=True))


def _lines(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"


def _csv(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield "\ufeff" + _csv_line(_COLUMNS)
    for row in rows:
        yield _csv_line([harmless(value) for value in row.values()])


def _csv_line(values: Any) -> str:
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
