"""Authenticates programs by the API key of one project; its scopes say what they may do."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar

from flask import Flask, g, request
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from pbxhub.account.access import RIGHTS, Access, Program, Right, rights_of_scopes
from pbxhub.account.tokens import hash_of
from pbxhub.account.tries import network_of
from pbxhub.api.problems import problem, refuse
from pbxhub.store.accounts import ApiKey, Project
from pbxhub.wsgi.current import hub, now

OPEN = frozenset({"api-docs.openapi_json", "docs.page", "docs.start"})
_SEEN = timedelta(minutes=1)
GUESSES = parse("60 per minute")  # wrong keys from one network; valid ones are not counted
View = TypeVar("View", bound=Callable[..., Any])


def install(api: Flask) -> None:
    """Requires a key before anything else is answered, even whether a route exists."""

    guesses = FixedWindowRateLimiter(MemoryStorage())

    @api.before_request
    def enter() -> Any:
        if request.endpoint in OPEN:
            return None
        key = request.headers.get("X-API-KEY", "")
        with hub().database.read() as session:
            row = session.scalar(select(ApiKey).where(ApiKey.key_hash == hash_of(key))) if key else None
        if row is None and key and not guesses.hit(GUESSES, network_of(request.remote_addr or "")):
            return problem(429, "Too many wrong keys from this address; wait a minute.", headers={"Retry-After": "60"})
        if row is None:
            return problem(401, "Send a key of the project in the header X-API-KEY; an owner makes one under API keys.")
        g.key = row
        _note_use(row)
        needed: Right | None = getattr(api.view_functions.get(request.endpoint or ""), "right", None)
        if needed and needed not in rights_of_scopes(row.scopes):
            return problem(403, f'This key lacks the scope "{RIGHTS[needed].scope}".')
        return None


def needs(right: Right) -> Callable[[View], View]:
    """Marks a view with the right that its key must have."""

    def mark(view: View) -> View:
        @wraps(view)
        def inner(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs)

        inner.right = right  # type: ignore[attr-defined]
        return inner  # type: ignore[return-value]

    return mark


def enter(session: Session) -> Access:
    """The project of the key, with what its holder may do there. Who changes what they have seen (If-Match) goes one
    at a time: of two changes with the same ETag the second finds another one."""
    row: ApiKey = g.key
    lock = {"key_share": True} if "If-Match" in request.headers else None
    project = session.get(Project, row.project_id, with_for_update=lock)
    if project is None:
        refuse(401, "The project of this key was deleted.")
    return Access(project, Program(row.name), rights_of_scopes(row.scopes), hub(), address=request.remote_addr or "")


def _note_use(row: ApiKey) -> None:
    """Last used, to the minute: a busy key must not write with every request."""
    moment = now()
    if row.used_on is None or moment - row.used_on > _SEEN:
        with hub().database.write() as session:
            session.execute(update(ApiKey).where(ApiKey.id == row.id).values(used_on=moment))
