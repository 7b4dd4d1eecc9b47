"""Authenticates programs by the API key of one project; its scopes say what they may do."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, TypeVar

from flask import Flask, g, request
from limits import parse
from limits.strategies import RateLimiter
from sqlalchemy.orm import Session

from pbxhub.account.access import RIGHTS, Access, Right, rights_of_scopes
from pbxhub.account.api_keys import access_of_key, is_use_to_note, key_of, note_use
from pbxhub.account.guess_delays import network_of
from pbxhub.api.problems import problem, refuse
from pbxhub.store.accounts import ApiKey
from pbxhub.wsgi.current import hub, now, reading, writing

OPEN = frozenset({"api-docs.openapi_json", "docs.page", "docs.start"})
GUESSES = parse("60 per minute")  # wrong keys from one network; valid ones are not counted
View = TypeVar("View", bound=Callable[..., Any])


def install(api: Flask) -> None:
    """Requires a key before anything else is answered, even whether a route exists."""
    guesses: RateLimiter = api.extensions["pbxhub.rates"].limiter

    @api.before_request
    def enter() -> Any:
        if request.endpoint in OPEN:
            return None
        key = request.headers.get("X-API-KEY", "")
        with hub().database.read() as session:
            row = key_of(session, key)
        if row is None and key and not guesses.hit(GUESSES, "wrong keys", network_of(request.remote_addr or "")):
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
        view.right = right  # type: ignore[attr-defined]
        return view

    return mark


def enter(session: Session) -> Access:
    """The project of the key, with what its holder may do there. Who changes what they have seen (If-Match) goes one
    at a time: of two changes with the same ETag the second finds another one."""
    access = access_of_key(session, g.key, hub(), request.remote_addr or "", changing="If-Match" in request.headers)
    return access or refuse(401, "The project of this key was deleted.")


def reads(right: Right) -> Callable[[View], View]:
    """For a view that changes nothing: as needs(); it gets a session, and what the key's holder may do."""
    return _entering(right, reading_project)


def changes(right: Right) -> Callable[[View], View]:
    """For a view that makes a change: as needs(); it gets a transaction, and what the key's holder may do."""
    return _entering(right, writing_project)


def _entering(
    right: Right, project: Callable[[], AbstractContextManager[tuple[Session, Access]]]
) -> Callable[[View], View]:
    def mark(view: View) -> View:
        @wraps(view)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with project() as (session, access):
                return view(session, access, *args, **kwargs)

        return needs(right)(inner)  # type: ignore[return-value]

    return mark


@contextmanager
def reading_project() -> Iterator[tuple[Session, Access]]:
    """A session for a request that changes nothing, and what the key's holder may do."""
    with reading() as session:
        yield session, enter(session)


@contextmanager
def writing_project() -> Iterator[tuple[Session, Access]]:
    """A transaction for a change, and what the key's holder may do."""
    with writing() as session:
        yield session, enter(session)


def _note_use(row: ApiKey) -> None:
    moment = now()
    if is_use_to_note(row, moment):
        with writing() as session:
            note_use(session, row, moment)
