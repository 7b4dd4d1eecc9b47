"""Calls begun in a CRM: the address that CRMs call without a session, and the page on which owners set it up."""

import json
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Flask, Response, current_app, flash, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from wtforms import StringField

from pbxhub.account.access import Access
from pbxhub.account.crm_calls import (
    address_of,
    call_for_crm,
    change_address,
    crm_of_address,
    enter_by_key,
    remove_address,
    renew_address,
    set_with_address,
)
from pbxhub.account.crm_requests import CrmRequest, read_request
from pbxhub.account.crm_subscription import subscribe_bitrix24
from pbxhub.account.guess_delays import network_of
from pbxhub.account.refusals import BusyError, Refusal
from pbxhub.json_reader import UnreadableError
from pbxhub.store.dial_addresses import DialAddress
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.translatable import say
from pbxhub.web.forms import Form, Hint
from pbxhub.web.language import _, lazy_gettext, said
from pbxhub.web.page_access import enter, reading_project, writing_project
from pbxhub.wsgi.current import hub, reading, writing
from pbxhub.wsgi.request_checks import json_body

dial = Blueprint("dial", __name__)
pages = Blueprint("crm_calls", __name__, url_prefix="/projects/<int:project_id>/crm-calls")
GUESSES = parse("60 per minute")  # wrong and missing keys from one network; valid ones are not counted


class DialForm(Form):
    """Of calls that are begun in a CRM."""

    token = StringField(
        lazy_gettext("Application token of Bitrix24"),
        [Hint(maxlength=200)],
        description=lazy_gettext("Then its events count only with this token. Empty keeps it, - removes it."),
    )
    callback_extension = StringField(
        lazy_gettext("Extension for callbacks"),
        [Hint(maxlength=80)],
        description=lazy_gettext("Rings when a visitor asks to be called back, if nobody has talked with them before."),
    )


def install(app: Flask) -> None:
    """The count of wrong keys is the application's own."""
    app.extensions["pbxhub.dial_guesses"] = FixedWindowRateLimiter(MemoryStorage())


@dial.route("/dial", methods=["GET", "POST"])
def order() -> ResponseReturnValue:
    """Orders the call that somebody has begun in a CRM, and answers as that CRM expects it."""
    if request.method == "HEAD":  # Flask serves it like GET; whoever only looks at a link must ring no phone
        raise MethodNotAllowed(["GET", "POST"])
    body = json_body() if request.is_json else request.form.to_dict()
    asked = read_request(request.args.to_dict(), body if isinstance(body, dict) else {})
    with reading() as session:  # a stranger without a key must not hold up who writes
        if enter_by_key(session, hub(), asked.key, request.remote_addr or "") is None:
            return _unknown_key(asked)
    with writing() as session:
        found = enter_by_key(session, hub(), asked.key, request.remote_addr or "")
        if found is None:
            return _unknown_key(asked)
        try:
            made = call_for_crm(session, *found, asked)
        except BusyError as busy:
            return _refused([Refusal("", busy.sentence, say("Try again in a moment."))], 429)
        if isinstance(made, list):
            return _refused(made, 403 if made[0].path == "auth[application_token]" else 422)
        return _ordered(asked, made)


@dial.errorhandler(UnreadableError)
def unreadable(error: UnreadableError) -> ResponseReturnValue:
    """A body that is not JSON, or has what no database can keep."""
    return _failed(error.path, str(error.sentence), 422 if error.path else 400)


@dial.errorhandler(HTTPException)
def failed(error: HTTPException) -> ResponseReturnValue:
    """Any other request that Flask refuses: a method, a body that is too large."""
    return _failed("", str(error.description), error.code or 500)


def _unknown_key(asked: CrmRequest) -> ResponseReturnValue:
    limiter: FixedWindowRateLimiter = current_app.extensions["pbxhub.dial_guesses"]
    if not limiter.hit(GUESSES, network_of(request.remote_addr or "")):
        why = Refusal("key", say("Too many wrong keys from this address."), say("Wait a minute."))
        return _refused([why], 429)
    why = Refusal("key", say("This key is not valid."), say("Copy the whole address from the page Calls from the CRM."))
    return _refused([why], 403)


def _ordered(asked: CrmRequest, made: OrderedCall | None) -> ResponseReturnValue:
    what = {"id": str(made.id), "status": made.status} if made else {}
    if asked.sender == "amocrm":
        return _script({"status": "ok", "action": "call" if made else request.args["_action"], "data": what or []})
    return jsonify({"result": what} if asked.sender == "bitrix24" else what)


def _refused(refusals: list[Refusal], status: int) -> ResponseReturnValue:
    return _failed(refusals[0].path, " ".join(str(each.text) for each in refusals), status)


def _failed(field: str, text: str, status: int) -> ResponseReturnValue:
    if request.args.get("_action"):  # amoCRM
        return _script({"status": "error", "data": text})
    return jsonify({"error": field or "refused", "error_description": text}), status


def _script(answer: Mapping[str, Any]) -> Response:
    """amoCRM's widget loads it as a script, so a refusal is a script as well, with status 200."""
    return Response(f"asterisk_cb({json.dumps(answer)});", mimetype="text/javascript")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """The address and how each CRM uses it."""
    with reading_project(project_id, "keys.change") as (session, access):
        row = session.get(DialAddress, project_id)
        return _page(session, access, DialForm(obj=row))


@pages.post("")
def change(project_id: int) -> ResponseReturnValue:
    """The application token and the extension for callbacks."""
    form = DialForm()
    with writing_project(project_id, "keys.change") as (session, access):
        if not address_of(session, access):
            return redirect(url_for("crm_calls.index", project_id=project_id))
        if not form.validate_on_submit() or not form.take(change_address(session, access, form.data)):
            return _page(session, access, form), 422
    flash(_("Saved."))
    return redirect(url_for("crm_calls.index", project_id=project_id))


@pages.post("/renew")
def renew(project_id: int) -> ResponseReturnValue:
    """A first address, or another one."""
    with writing_project(project_id, "keys.change") as (session, access):
        renew_address(session, access)
    return redirect(url_for("crm_calls.index", project_id=project_id))


@pages.post("/subscribe")
def subscribe(project_id: int) -> ResponseReturnValue:
    """Tells Bitrix24 to send clicks on numbers to the address; says what it answered."""
    with reading() as session:
        access = enter(session, project_id, "keys.change")
    try:
        told = subscribe_bitrix24(access)
    except BusyError as error:
        flash(said(error.sentence), "error")
    else:
        words = f"{said(told.sentence)} {told.answer}".strip()
        flash(words, "message" if told.ok else "error")
    return redirect(url_for("crm_calls.index", project_id=project_id))


@pages.post("/delete")
def remove(project_id: int) -> ResponseReturnValue:
    """No more calls by the address."""
    with writing_project(project_id, "keys.change") as (session, access):
        remove_address(session, access)
    flash(_("Deleted."))
    return redirect(url_for("crm_calls.index", project_id=project_id))


def _page(session: Session, access: Access, form: DialForm) -> str:
    row = session.get(DialAddress, access.project.id)
    return render_template(
        "account/crm_calls.html", address=address_of(session, access), form=form,
        has_token=bool(row and row.token_hash), of_set=set_with_address(session, access),
        crm=crm_of_address(session, access),
    )  # fmt: skip
