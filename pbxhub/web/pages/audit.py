"""The audit log of a project."""

from typing import get_args

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from pbxhub.account.audit_log import Action, authors, entries
from pbxhub.web.page_access import reading_project
from pbxhub.web.paging import Page, page_size
from pbxhub.wsgi.request_checks import is_id

pages = Blueprint("audit", __name__, url_prefix="/projects/<int:project_id>/audit")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Who changed what, newest first."""
    with reading_project(project_id, "audit.read") as (session, _access):
        return audit_page(session, project_id)


def audit_page(session: Session, project_id: int | None, title: str = "") -> str:
    """The page of a log that the address asks for (?before=, ?who=, ?action=). None: the operators' log."""
    before, who, action = (request.args.get(name, "")[:255] for name in ("before", "who", "action"))
    size = page_size()
    rows = entries(session, project_id, int(before) if is_id(before) else None, size + 1, who, action)
    page = Page(rows[:size], str(rows[size - 1].id) if len(rows) > size else "")
    return render_template(
        "account/audit.html", page=page, title=title, who=who, action=action, actions=sorted(get_args(Action)),
        authors=authors(session, project_id),
    )  # fmt: skip
