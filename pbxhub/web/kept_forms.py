"""Keeps the content of a form when the session ends: after signing in again, the user gets the form back.

The content is kept for an hour, encrypted, for the browser that sent it, and only for browsers with which an account
has signed in before (devices.py), so that nobody else can fill the table. The form is shown again and saved only when
its button is pressed, so a form that another site made the browser send has no effect.
"""

import hashlib
import json
import secrets
from datetime import timedelta

from flask import current_app, g, request
from flask_login import current_user
from sqlalchemy import delete
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException

from pbxhub.store.sign_in_rows import KeptForm
from pbxhub.web.devices import device
from pbxhub.wsgi.current import hub, now, reading, writing

_LASTS = timedelta(hours=1)
_LARGEST = 200_000  # characters
_PAGES = ("/settings",)  # pages of forms whose own URL and the URLs above it are not pages
_SECRET = ("password", "secret", "csrf_token")


def page_of_form() -> str:
    """The page of this request's form, as far as its URL shows."""
    path = request.path.rstrip("/")
    while path:
        for page in (path, *(f"{path}{end}" for end in _PAGES)):
            if _is_page(page):
                return page
        path = path.rpartition("/")[0]
    return "/"


def keep() -> str:
    """Keeps the form of this request without secrets; returns the key for the link back, "" when nothing was kept."""
    fields = [
        (name, value)
        for name, value in request.form.items(multi=True)
        if not any(word in name for word in _SECRET)
    ]  # fmt: skip
    text = json.dumps([request.path, fields])
    if not fields or not device() or len(text) > _LARGEST:
        return ""
    key = secrets.token_urlsafe(16)
    with writing() as session:
        session.execute(delete(KeptForm).where(KeptForm.ends_on < now()))
        session.add(KeptForm(key_hash=_hash(key), sealed=hub().vault.seal(text), ends_on=now() + _LASTS))
    return key


def kept(path: str | None = None) -> MultiDict[str, str] | None:
    """What was typed into the form that is sent to this path (the page's own by default), for the one who comes back by
    the link."""
    found = _found()
    if found is None or found[0] != (path or request.path):
        return None
    g.kept_is_shown = True
    return MultiDict(found[1])


def _found() -> tuple[str, list[tuple[str, str]]] | None:
    key = request.args.get("kept", "")
    if not key or request.method != "GET" or not current_user.is_authenticated or not device():
        return None
    with reading() as session:
        row = session.get(KeptForm, _hash(key))
    if row is None or row.ends_on < now():
        return None
    path, fields = json.loads(hub().vault.open(row.sealed))
    return path, [(name, value) for name, value in fields]


def _is_page(path: str) -> bool:
    try:
        endpoint, _values = current_app.url_map.bind("").match(path, method="GET")
    except HTTPException:
        return False
    return str(endpoint) != "static"


def _hash(key: str) -> str:
    return hashlib.sha256(f"{device()} {key}".encode("utf-8", "surrogatepass")).hexdigest()
