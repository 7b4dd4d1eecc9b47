"""The search over a whole project: a page of its own, and what the dialog of every page shows while one types."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from pbxhub.account.names import names_of
from pbxhub.account.search import LONGEST, search
from pbxhub.account.search_times import SearchTime
from pbxhub.web.page_access import reading_project
from pbxhub.wsgi.current import now

pages = Blueprint("search", __name__, url_prefix="/projects/<int:project_id>/search")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """What the text of ?q= leads to."""
    with reading_project(project_id) as (session, access):
        text = request.args.get("q", "").strip()[:LONGEST]
        found = search(session, access, text, now())
        template = "search/_found.html" if "HX-Request" in request.headers else "search/index.html"
        about = found.time.rest if found.time else text
        return render_template(
            template, text=text, found=found, about=about, names=names_of(session, project_id, found.calls),
            by_number=any(one.isdigit() for one in about), when_fields=_fields_of(found.time) if found.time else {},
        )  # fmt: skip


def _fields_of(time: SearchTime) -> dict[str, str]:
    """The time as the filter of the page Calls has it in its address."""
    missed = {"result": "missed"} if time.missed else {}
    since = {"from": f"{time.since:%Y-%m-%dT%H:%M}"} if time.since else {}
    return {**since, "to": f"{time.until:%Y-%m-%dT%H:%M}", **missed}
