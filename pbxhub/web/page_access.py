"""Access control of every page: which user, in which project, with which right. Strangers get 404."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask, abort, g, request
from flask import session as browser
from flask_login import current_user
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, HubAccess, OperatorRight, Right, access_of_member, may_operate
from pbxhub.web.users import Account
from pbxhub.wsgi.current import hub, reading, writing

_WITHOUT_PROJECT = ("error_numbers", "profile", "security")  # read on the way from a project and back to it
_LAST = "project"  # in the session of the browser: the id of the project it visited last


def install(app: Flask) -> None:
    """Pages that belong to no project show the menu of the one visited last."""
    app.before_request(lambda: show_menu() if request.blueprint in _WITHOUT_PROJECT else None)


def show_menu() -> None:
    """Templates get the access to the project that the address names; if it names none of the user, to the project
    that this browser visited last."""
    if not current_user.is_authenticated:
        return
    named = re.match(r"/projects/(\d{1,9})(?:/|$)", request.path)
    with reading() as session:
        for project_id in (int(named[1]) if named else None, browser.get(_LAST)):
            g.access = _access(session, project_id) if project_id else None
            if g.access:
                return


def signed_in() -> Account:
    """The user of this request. 401 (the sign-in page) when nobody is signed in."""
    if not current_user.is_authenticated:
        abort(401)
    account: Account = current_user._get_current_object()
    return account


def enter(session: Session, project_id: int, right: Right = "account.read") -> Access:
    """The access of a member with this right. 401 when not signed in, 404 for a stranger, 403 without the right.
    Templates get the result as `access`."""
    access = _access(session, project_id)
    if access is None:
        abort(404)
    g.access = access
    if browser.get(_LAST) != project_id and request.method == "GET" and "HX-Request" not in request.headers:
        browser[_LAST] = project_id
    if not access.may(right):
        abort(403)
    return access


def _access(session: Session, project_id: int) -> Access | None:
    return access_of_member(session, at_hub(signed_in()), hub(), project_id)


def at_hub(user: Account) -> HubAccess:
    """A user outside of any project."""
    return HubAccess(user, hub(), user.operator, address())


def address() -> str:
    """Where this request comes from."""
    return request.remote_addr or ""


def operating(right: OperatorRight) -> HubAccess:
    """The operator of this request. 401 when not signed in, 404 for other users."""
    user = signed_in()
    if not may_operate(user.operator, right, hub().settings):
        abort(404)
    return at_hub(user)


@contextmanager
def reading_project(project_id: int, right: Right = "account.read") -> Iterator[tuple[Session, Access]]:
    """A session for a page that changes nothing, and the access of its user: see enter()."""
    with reading() as session:
        yield session, enter(session, project_id, right)


@contextmanager
def writing_project(project_id: int, right: Right = "account.read") -> Iterator[tuple[Session, Access]]:
    """A transaction for a change, and the access of its user: see enter()."""
    with writing() as session:
        yield session, enter(session, project_id, right)
