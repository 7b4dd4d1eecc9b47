"""The audit log of a project."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from pbxhub.store.accounts import AuditEntry
from pbxhub.web.access import enter
from pbxhub.web.paging import PAGE, Page
from pbxhub.wsgi.current import reading

pages = Blueprint("audit", __name__, url_prefix="/projects/<int:project_id>/audit")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Who changed what, newest first."""
    before = request.args.get("before", "")
    with reading() as session:
        enter(session, project_id, "audit.read")
        query = select(AuditEntry).where(AuditEntry.project_id == project_id)
        if before.isascii() and before.isdigit() and len(before) < 18:
            query = query.where(AuditEntry.id < int(before))
        rows = session.scalars(query.order_by(AuditEntry.id.desc()).limit(PAGE + 1)).all()
        page = Page(rows[:PAGE], str(rows[PAGE - 1].id) if len(rows) > PAGE else "")
        return render_template("account/audit.html", page=page)
