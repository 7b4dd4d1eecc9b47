"""Call control: webhooks that a waiting call asks, numbers a webhook forwards to, and trying an answer out."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.webhook_drafts import live_webhooks, read_draft
from pbxhub.account.webhooks import change, create, editable
from pbxhub.steering.answer import Plan
from pbxhub.store.accounts import Pbx
from pbxhub.store.agi_tokens import Tokens
from pbxhub.store.webhooks import Webhook
from pbxhub.web.access import enter
from pbxhub.web.language import _, said
from pbxhub.web.steering_form import SteeringForm, as_data, fill_in, simulated_of
from pbxhub.webhooks.call_control import plan_of, rules_of
from pbxhub.webhooks.catalogue import QUESTION
from pbxhub.webhooks.spec import SpecError, Steering
from pbxhub.wsgi.current import hub, reading, writing

pages = Blueprint("steering", __name__, url_prefix="/projects/<int:project_id>/call-control")

LONGEST_ANSWER = 64 * 1024


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Every webhook a call may ask, and the line that connects each PBX."""
    with reading() as session:
        access = enter(session, project_id)
        rows = [row for row in live_webhooks(session, access) if row.stage == QUESTION]
        addresses = _addresses(session, project_id) if access.may("pbxs.change") else []
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
            flash(_("Saved. Now put the line below into your dialplan."))
            return redirect(url_for("steering.edit", project_id=project_id, webhook_id=saved))
        return render_template("steering/edit.html", form=form, webhook=webhook)


@pages.post("/simulate")
def simulate(project_id: int) -> ResponseReturnValue:
    """What an answer would do: its steps, or why it is refused. Nothing is saved and nobody is called."""
    with reading() as session:
        access = enter(session, project_id, "webhooks.change")
        answer = request.form.get("answer", "").encode()[: LONGEST_ANSWER + 1]
        steering = simulated_of(request.form)
        found = plan_of(steering, answer, rules_of(steering, country=access.project.country))
        steps = [str(action) for action in found.actions] if isinstance(found, Plan) else []
        refusal = "" if isinstance(found, Plan) else str(found)
        return render_template("steering/_simulated.html", steps=steps, refusal=refusal, steering=steering)


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


def _addresses(session: Session, project_id: int) -> list[dict[str, Any]]:
    """For each PBX the address at which it asks. It holds the PBX's token: owners only."""
    tokens, agi = Tokens(hub().vault), hub().settings.agi
    host, port = agi or ("127.0.0.1", 4573)
    rows = session.execute(select(Pbx.id, Pbx.name).where(Pbx.project_id == project_id).order_by(Pbx.id))
    return [{"name": row.name, "url": f"agi://{host}:{port}/{tokens.path(row.id)}"} for row in rows]
