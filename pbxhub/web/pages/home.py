"""The start page: sign-in, setup, or the user's project."""

from flask import Blueprint, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_wtf.csrf import generate_csrf

from pbxhub.account.first_owner import had_owner, has_owner, lost_database
from pbxhub.account.invitations import of_address
from pbxhub.account.projects import projects_of, refuse_new_project
from pbxhub.web.cookies import cookie_path
from pbxhub.web.error_pages import local_path
from pbxhub.web.language import languages
from pbxhub.web.page_access import at_hub, signed_in
from pbxhub.wsgi.current import hub, now, reading

pages = Blueprint("home", __name__)


@pages.get("/")
def start() -> ResponseReturnValue:
    """The project itself when the user has one and is invited to no other, else the list of projects."""
    with reading() as session:
        if not current_user.is_authenticated:
            if has_owner(session):
                return redirect(url_for("security.login"))
            lost = lost_database() if had_owner(hub().settings.data_dir) else None
            return render_template("welcome.html", lost=lost), 503 if lost else 200
        projects = [project.id for project, _role in projects_of(session, signed_in().id)]
        invited = of_address(session, signed_in().email, now())
    if len(projects) == 1 and not invited:
        return redirect(url_for("dashboard.index", project_id=projects[0]))
    return redirect(url_for("home.projects"))


@pages.get("/projects")
def projects() -> ResponseReturnValue:
    """Every project of the user, and whom to ask for one if the user may not create projects."""
    user = signed_in()
    with reading() as session:
        rows = projects_of(session, user.id)
        refused = refuse_new_project(session, at_hub(user))
        invited = of_address(session, user.email, now())
        return render_template("projects.html", rows=rows, refused=refused, invited=invited)


@pages.post("/language")
def language() -> ResponseReturnValue:
    """Remembers the language of this browser, for pages before signing in."""
    chosen = request.form.get("language", "")
    response = redirect(local_path(request.form.get("back", "/")))
    if chosen in languages():
        response.set_cookie(
            "language",
            chosen,
            max_age=31536000,
            httponly=True,
            samesite="Lax",
            secure=request.is_secure,
            path=cookie_path(hub().settings),
        )
    return response


@pages.get("/token")
def token() -> ResponseReturnValue:
    """The current CSRF token, for a page that stayed open while its session ended and another began."""
    signed_in()
    return jsonify(token=generate_csrf())
