"""The hub of the current request, sessions with its database, and the time."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app
from sqlalchemy.orm import Session

from pbxhub.account.installation import Installation
from pbxhub.store.clock import utc_now

now = utc_now  # what the pages and the API take for the present moment


def hub() -> Installation:
    """The hub of the application that answers the current request."""
    found: Installation = current_app.extensions["pbxhub"]
    return found


@contextmanager
def reading() -> Iterator[Session]:
    """A session for a request that changes nothing."""
    with hub().database.read() as session:
        yield session


@contextmanager
def writing() -> Iterator[Session]:
    """A transaction for a change: committed at the end of the block, rolled back when an error leaves it."""
    with hub().database.write() as session:
        yield session
