"""Call control: webhooks that a waiting call asks, numbers a webhook forwards to, and trying them out."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.call_questions import asking_places
from pbxhub.account.call_questions import simulate as simulate_answer
from pbxhub.account.preview import test_send
from pbxhub.account.sample_calls import sample_names
from pbxhub.account.webhook_drafts import live_webhooks, read_draft
from pbxhub.account.webhooks import change, create, editable
from pbxhub.store.webhooks import Webhook
from pbxhub.web.editor_data import call_choices
from pbxhub.web.language import _, said
from pbxhub.web.page_access import enter, reading_project
from pbxhub.web.steering_form import SteeringForm, as_data, fill_in, simulated_of
from pbxhub.webhooks.catalogue import QUESTION
from pbxhub.webhooks.spec import SpecError, Steering
from pbxhub.wsgi.current import reading, writing
from pbxhub.wsgi.request_checks import is_id

pages = Blueprint("steering", __name__, url_prefix="/projects/<int:project_id>/call-control")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Every webhook a call may ask, and the line that connects each PBX."""
    with reading_project(project_id) as (session, access):
        rows = [row for row in live_webhooks(session, access) if row.stage == QUESTION]
        addresses = asking_places(session, access) if access.may("pbxs.change") else []
        return render_template("steering/index.html", rows=rows, addresses=addresses, default=Steering())


@pages.route("/new", methods=["GET", "POST"], defaults={"webhook_id": None})
@pages.route("/<int:webhook_id>", methods=["GET", "POST"])
def edit(project_id: int, webhook_id: int | None) -> ResponseReturnValue:
    """One of them: new, or changed. What is sent in detail is set in the editor of webhooks."""
    with writing() if request.method == "POST" else reading() as session:
        access = enter(session, project_id, "webhooks.change")
        webhook = editable(session, access, webhook_id) if webhook_id else None
        if webhook and webhook.stage != QUESTION:  # nobody asks it: its own editor
            return redirect(url_for("webhooks.edit", project_id=project_id, webhook_id=webhook.id))
        form = SteeringForm(obj=None if request.method == "POST" else fill_in(webhook, request.args.get("reads", "")))
        if form.validate_on_submit() and (saved := _save(session, access, webhook, form)):
            flash(_("Saved. Now copy the line below to your dialplan."))
            return redirect(url_for("steering.edit", project_id=project_id, webhook_id=saved))
        calls, samples = call_choices(session, access), sample_names()
        return render_template("steering/edit.html", form=form, webhook=webhook, calls=calls, samples=samples)


@pages.post("/simulate")
def simulate(project_id: int) -> ResponseReturnValue:
    """What an answer would do: its actions, or why it is refused. Saves nothing and makes no call."""
    with reading_project(project_id, "webhooks.change") as (_session, access):
        steering = simulated_of(SteeringForm())
        found = simulate_answer(access, steering, request.form.get("answer", "").encode())
        return render_template("steering/_simulated.html", found=found, steering=steering)


@pages.post("/ask")
def ask(project_id: int) -> ResponseReturnValue:
    """Asks the user's own system for a call of the past or a sample, by the form as it is entered, saved or not."""
    asking = request.args.get("webhook", "")
    with reading_project(project_id, "webhooks.change") as (session, access):
        webhook = editable(session, access, int(asking)) if is_id(asking) else None
        data = as_data(SteeringForm(), webhook) | {"sample": request.form.get("sample", "")}
        tried = test_send(session, access, data | ({"id": webhook.id} if webhook else {}), webhook)
        return render_template("steering/_asked.html", tried=tried)


def _save(session: Session, access: Access, webhook: Webhook | None, form: SteeringForm) -> int | None:
    """The id of the webhook, None when the form has errors."""
    try:
        draft = read_draft(session, access, as_data(form, webhook), webhook)
    except SpecError as error:
        for wrong in error.errors:
            form.take_error(wrong.path, said(wrong.message))
        return None
    if webhook is None:
        return create(session, access, draft).id
    change(session, access, webhook, draft)
    return webhook.id
