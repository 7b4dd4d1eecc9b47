"""The search over a whole project: a page of its own, and what the dialog of every page shows while one types."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from pbxhub.account.names import names_of
from pbxhub.account.search import LONGEST, search
from pbxhub.web.page_access import enter
from pbxhub.wsgi.current import reading

pages = Blueprint("search", __name__, url_prefix="/projects/<int:project_id>/search")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """What the text of ?q= leads to."""
    with reading() as session:
        access = enter(session, project_id)
        text = request.args.get("q", "").strip()[:LONGEST]
        found = search(session, access, text)
        template = "search/_found.html" if "HX-Request" in request.headers else "search/index.html"
        names, by_number = names_of(session, project_id, found.calls), any(one.isdigit() for one in text)
        return render_template(template, text=text, found=found, names=names, by_number=by_number)
