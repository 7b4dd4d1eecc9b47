"""The first page of a project: what needs attention, the calls of today, the deliveries of the last day."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from pbxhub.account.first_steps import first_steps
from pbxhub.account.pbxs import pbxs_of
from pbxhub.account.statistics import calls_of_day, deliveries_of_day, paused, problems
from pbxhub.web.page_access import reading_project
from pbxhub.wsgi.current import now

pages = Blueprint("dashboard", __name__, url_prefix="/projects/<int:project_id>/dashboard")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Today at a glance; a project that is not connected yet sees its next steps instead."""
    with reading_project(project_id) as (session, access):
        moment, pbxs = now(), pbxs_of(session, access)
        calls = calls_of_day(session, project_id, moment, access.zone)
        day = deliveries_of_day(session, project_id, moment)
        return render_template(
            "dashboard.html",
            calls=calls,
            day=day,
            problems=problems(session, project_id)[:3],
            paused=paused(session, project_id),
            pbxs=pbxs,
            steps=first_steps(session, access, pbxs, called=calls.total > 0, delivered=day.delivered > 0),
        )
