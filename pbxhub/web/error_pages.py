"""The pages for errors: a sentence and a link to continue."""

import json
from contextlib import suppress
from urllib.parse import unquote, urlsplit

import structlog
from flask import Flask, Response, current_app, flash, g, redirect, render_template, request, url_for
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import BadRequest, Conflict, Forbidden, HTTPException, NotFound, SecurityError, TooManyRequests
from werkzeug.wrappers import Response as AnyResponse

from pbxhub.account.refusals import BusyError, ConflictError, NotAllowedError, NotFoundError
from pbxhub.json_reader import UnreadableError
from pbxhub.store.database_errors import is_away, reason
from pbxhub.web.devices import device
from pbxhub.web.kept_forms import keep, page_of_form
from pbxhub.web.language import _, said
from pbxhub.web.page_access import show_menu

Answer = AnyResponse | tuple[str, int]
log = structlog.get_logger(__name__)


def install(app: Flask) -> None:
    """Installs one page for every error. A visitor without a session is sent to sign in, and returns afterwards."""
    app.before_request(_refuse_way_out)
    app.register_error_handler(401, _sign_in)
    app.register_error_handler(UnreadableError, lambda error: _failed(BadRequest(_unreadable(error))))
    app.register_error_handler(NotFoundError, lambda _error: _failed(NotFound()))
    app.register_error_handler(NotAllowedError, lambda error: _failed(Forbidden(said(error.sentence))))
    app.register_error_handler(ConflictError, lambda error: _failed(Conflict(said(error.sentence))))
    app.register_error_handler(BusyError, _busy)
    app.register_error_handler(HTTPException, _failed)
    app.register_error_handler(CSRFError, _forged_or_old)
    app.register_error_handler(SQLAlchemyError, _away)
    app.register_error_handler(500, _broken)


def local_path(target: str) -> str:
    """The target if it is a path of the hub, otherwise its start: a link must never lead to another site, nor to what
    else the same host serves."""
    try:
        parts = urlsplit(target)
    except ValueError:  # such as http://[x
        return f"{request.script_root}/"
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.netloc and "\\" not in target
    inside = f"{target}/".startswith(f"{request.script_root}/") and ".." not in unquote(parts.path).split("/")
    return target if safe and inside and target.isprintable() else f"{request.script_root}/"


def _refuse_way_out() -> Answer | None:
    """Signing in leads to any path of the host that `next` names: Flask-Security compares hosts only. A link that would
    leave the hub so starts again without it."""
    if request.blueprint != "security":
        return None
    targets = [*request.args.getlist("next"), *request.form.getlist("next")]
    outside = any(target and local_path(target) != target for target in targets)
    return redirect(url_for("security.login")) if outside else None


def _sign_in(_error: HTTPException) -> Answer:
    """Redirects to the sign-in page and back. A form's content is kept for its user; a script gets 401 and keeps it."""
    by_script = "HX-Request" in request.headers or request.is_json
    if request.method != "GET" and by_script:
        return Response(json.dumps({"error": "signed out"}), 401, mimetype="application/json")
    if by_script:
        return Response(status=204, headers={"HX-Redirect": url_for("security.login", next=url_for("home.start"))})
    back = request.script_root + request.full_path.rstrip("?") if request.method == "GET" else _back_to_form()
    return redirect(url_for("security.login", next=local_path(back)))


def _back_to_form() -> str:
    page, key = _kept_for_page()
    if key:
        flash(_("You are no longer signed in. Sign in to get back what you entered."), "error")
    elif device():
        flash(_("You are no longer signed in, and nothing was changed. Sign in and do it again."), "error")
    return page


def _kept_for_page() -> tuple[str, str]:
    """The page of the form that was sent, with the key of what it held where it can be filled in again."""
    page = page_of_form()
    key = keep() if page == request.path or request.endpoint == "project.alert" else ""
    page = request.script_root + page
    return (f"{page}?kept={key}", key) if key else (page, "")


def _forged_or_old(error: CSRFError) -> Answer:
    """The request came from a page of an earlier session, or from another site. The form is shown again, filled in, to
    be sent with its own button. Without the token of a page, or from an unknown browser, it is refused."""
    inside = request.blueprint not in ("security", "setup", "home", None)
    if not inside or not device() or not (request.form.get("csrf_token") or request.headers.get("X-CSRFToken")):
        return _failed(error)
    if not current_user.is_authenticated:
        return _sign_in(error)
    if "X-CSRFToken" in request.headers:
        return Response(json.dumps({"error": "old token"}), 400, {"X-Old-Token": "1"}, mimetype="application/json")
    flash(_("This page belonged to an earlier session, so nothing was changed. Press the button again."), "error")
    return redirect(_kept_for_page()[0])


def _failed(error: HTTPException) -> Answer:
    if error.code in (301, 302, 303, 307, 308) or error.response is not None:
        return error.get_response()
    if isinstance(
        error, SecurityError
    ):  # an unknown Host header: nothing in the request can be trusted, including links
        return Response(_("The hub does not use this host name: see PBXHUB_PUBLIC_URL."), 400, mimetype="text/plain")
    g.pop("access", None)  # its rows belong to a transaction that was rolled back
    with suppress(SQLAlchemyError):  # what is to be said does not depend on the menu
        show_menu()
    code = error.code or 500
    title, sentence = _words(code, error)
    page = render_template("failure.html", code=code, title=title, sentence=sentence)
    after = getattr(error, "retry_after", None)
    return Response(page, code, {"Retry-After": str(after)} if after else None)


def _busy(error: BusyError) -> Answer:
    return _failed(TooManyRequests(said(error.sentence), retry_after=error.retry_after))


def _unreadable(error: UnreadableError) -> str:
    return f"{error.path}: {said(error.sentence)}" if error.path else said(error.sentence)


def _away(error: SQLAlchemyError) -> Answer:
    """The database is unavailable, or another transaction has locked the rows to change. The user is unknown then, so
    the page is shown without one."""
    if not is_away(error):
        raise error
    log.warning("database unavailable; page not served", path=request.path, error=reason(error))
    g.pop("access", None)
    g._login_user = current_app.login_manager.anonymous_user()  # type: ignore[attr-defined]
    title, sentence = _words(503, None)
    page = render_template("failure.html", code=503, title=title, sentence=sentence)
    return Response(page, 503, {"Retry-After": "5"})


def _broken(_error: Exception) -> Answer:
    g.pop("access", None)
    title, sentence = _words(500, None)
    return render_template("failure.html", code=500, title=title, sentence=sentence), 500


def _words(code: int, error: HTTPException | None) -> tuple[str, str]:
    known = {
        400: (_("Something is missing or cannot be used"), str(error.description) if error else ""),
        403: (_("Your role does not allow this"), _("Ask an owner of the project for a higher role.")),
        404: (_("There is nothing here"), _("It was deleted, never existed, or belongs to a project you are not in.")),
        405: (_("This cannot be done that way"), _("Go back and use the buttons on the page.")),
        414: (_("That is too large"), _("The address is too long.")),
        413: (_("That is too large"), _("A form may have up to 2 MB.")),
        409: (_("This cannot be done now"), str(error.description) if error else ""),
        429: (_("Too many attempts"), str(error.description) if error else ""),
        503: (_("The database does not answer"), _("Try again in a moment and check whether your change was saved.")),
        500: (_("Something failed in the hub"), _("The hub's log has the details. It is safe to try again.")),
    }
    return known.get(code, (error.name if error else str(code), str(error.description) if error else ""))
