"""Projects: make one, change its name, zone and country, delete it."""

from flask import Blueprint, flash, g, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from pbxhub.account.access import row_of
from pbxhub.account.alerts import add_alert, remove_alert
from pbxhub.account.project_settings import change_project, revoke_recording_links
from pbxhub.account.projects import delete_project, make_project, refuse_new_project
from pbxhub.store.accounts import Project
from pbxhub.store.notices import NoticeTarget
from pbxhub.web.kept_forms import kept
from pbxhub.web.language import _, said
from pbxhub.web.page_access import at_hub, reading_project, signed_in, writing_project
from pbxhub.web.project_form import AlertForm, DeleteProjectForm, ProjectForm, RecordingLinksForm, WorkingTimeForm
from pbxhub.wsgi.current import reading, writing

pages = Blueprint("project", __name__, url_prefix="/projects")


@pages.route("/new", methods=["GET", "POST"])
def create() -> ResponseReturnValue:
    """A new project; who makes it is its owner. 403, with whom to ask, for those who may not."""
    user = signed_in()
    with reading() as session:
        if refused := refuse_new_project(session, at_hub(user)):
            title = said(refused.sentence)
            return render_template("failure.html", code=403, title=title, sentence=said(refused.remedy)), 403
    form = ProjectForm()
    if form.validate_on_submit():
        with writing() as session:
            made = make_project(session, at_hub(user), form.settings())
            if isinstance(made, Project):
                return redirect(url_for("pbxs.index", project_id=made.id))
    return render_template(
        "account/form.html", form=form, title=_("New project"), submit=_("Create"), browser_zone=True
    )


@pages.route("/<int:project_id>/settings", methods=["GET", "POST"])
def settings(project_id: int) -> ResponseReturnValue:
    """Name, time zone and country; working hours and holidays have a form of their own."""
    with reading_project(project_id, "project.change") as (session, access):
        form = ProjectForm(obj=access.project)
        if not form.validate_on_submit():
            return _settings_page(session, form)
    with writing_project(project_id, "project.change") as (session, access):
        if not form.take(change_project(session, access, form.data)):
            return _settings_page(session, form)
    flash(_("Saved."))
    return redirect(url_for("project.settings", project_id=project_id))


@pages.post("/<int:project_id>/working-time")
def working_time(project_id: int) -> ResponseReturnValue:
    """Working hours and holidays."""
    form = WorkingTimeForm()
    with writing_project(project_id, "project.change") as (session, access):
        if not form.validate_on_submit() or not form.take(change_project(session, access, form.settings())):
            return _settings_page(session, times=form), 422
    flash(_("Saved."))
    return redirect(url_for("project.settings", project_id=project_id))


@pages.post("/<int:project_id>/recording-links")
def recording_links(project_id: int) -> ResponseReturnValue:
    """How long links to recordings are valid."""
    form = RecordingLinksForm()
    with writing_project(project_id, "project.change") as (session, access):
        if not form.validate_on_submit() or not form.take(change_project(session, access, form.data)):
            return _settings_page(session, links=form), 422
    flash(_("Saved."))
    return redirect(url_for("project.settings", project_id=project_id))


@pages.post("/<int:project_id>/recording-links/revoke")
def revoke_links(project_id: int) -> ResponseReturnValue:
    """Revokes every link to a recording that was made until now."""
    with writing_project(project_id, "project.change") as (session, access):
        revoke_recording_links(session, access)
    flash(_("All links to recordings were revoked."))
    return redirect(url_for("project.settings", project_id=project_id))


@pages.post("/<int:project_id>/alerts")
def alert(project_id: int) -> ResponseReturnValue:
    """Adds an address that gets a notice when a webhook fails for the first time in a day, is paused, or recovers."""
    form = AlertForm()
    with writing_project(project_id, "alerts.change") as (session, access):
        refused = add_alert(session, access, form.address.data or "") if form.validate_on_submit() else []
        if not form.take(refused) or form.errors:
            return _settings_page(session, alerts=form), 422
    flash(_("Saved."))
    return redirect(url_for("project.settings", project_id=project_id))


@pages.post("/<int:project_id>/alerts/<int:target_id>/delete")
def mute(project_id: int, target_id: int) -> ResponseReturnValue:
    """Removes such an address."""
    with writing_project(project_id, "alerts.change") as (session, access):
        remove_alert(session, access, row_of(session, access, NoticeTarget, target_id))
    flash(_("Deleted."))
    return redirect(url_for("project.settings", project_id=project_id))


@pages.post("/<int:project_id>/delete")
def remove(project_id: int) -> ResponseReturnValue:
    """Deletes the project with everything in it, when its name was typed."""
    form = DeleteProjectForm()
    with writing_project(project_id, "project.change") as (session, access):
        if not form.validate_on_submit() or form.typed_name.data != access.project.name:
            flash(_("Type the name of the project exactly to delete it."), "error")
            return redirect(url_for("project.settings", project_id=project_id))
        delete_project(session, access)
    flash(_("The project was deleted."))
    return redirect(url_for("home.projects"))


def _settings_page(
    session: Session,
    form: ProjectForm | None = None,
    alerts: AlertForm | None = None,
    times: WorkingTimeForm | None = None,
    links: RecordingLinksForm | None = None,
) -> str:
    """With the form that was sent; the others show what is saved, or what was entered before signing in again."""
    project: Project = g.access.project

    def entered(endpoint: str) -> MultiDict[str, str] | None:
        return kept(url_for(f"project.{endpoint}", project_id=project.id))

    lines = {name: "\n".join(getattr(project, name)) for name in ("working_hours", "holidays")}
    targets = session.scalars(
        select(NoticeTarget).where(NoticeTarget.project_id == project.id).order_by(NoticeTarget.id)
    ).all()
    return render_template(
        "account/project.html",
        form=form or ProjectForm(formdata=None, obj=project),
        alerts=alerts or AlertForm(formdata=entered("alert")),
        times=times or WorkingTimeForm(formdata=entered("working_time"), data=lines),
        links=links or RecordingLinksForm(formdata=entered("recording_links"), obj=project),
        targets=targets,
        removal=DeleteProjectForm(formdata=None),
    )
