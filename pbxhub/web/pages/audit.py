"""The audit log of a project."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from pbxhub.account.audit_log import entries
from pbxhub.store.accounts import AuditEntry
from pbxhub.web.page_access import enter
from pbxhub.web.paging import Page, page_size
from pbxhub.wsgi.current import reading
from pbxhub.wsgi.request_checks import is_id

pages = Blueprint("audit", __name__, url_prefix="/projects/<int:project_id>/audit")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Who changed what, newest first."""
    with reading() as session:
        enter(session, project_id, "audit.read")
        return render_template("account/audit.html", page=audit_page(session, project_id))


def audit_page(session: Session, project_id: int | None) -> Page[AuditEntry]:
    """The page of a log that the address asks for (?before=). None: the operators' log."""
    before = request.args.get("before", "")
    size = page_size()
    rows = entries(session, project_id, int(before) if is_id(before) else None, size + 1)
    return Page(rows[:size], str(rows[size - 1].id) if len(rows) > size else "")
