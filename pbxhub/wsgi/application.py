"""The kind of application that both the pages and the API are."""

from flask import Flask, g
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import DBAPIError

from pbxhub.store.database_errors import have_collided

TRIES = 5


class Application(Flask):
    """Carries a request out again that has collided with another one.

    Two at once invite the same person, add the same number, hand in the same event: both look, both find nothing, both
    insert. PostgreSQL undoes the second one, and its view runs once more from the beginning: now it finds what the
    first one has written, and answers what it would have answered a second later. On SQLite writers take turns anyway.

    A view may run twice, so it does nothing outside of the database before its last transaction.
    """

    def dispatch_request(self) -> ResponseReturnValue:
        for left in reversed(range(TRIES)):
            try:
                return super().dispatch_request()
            except DBAPIError as error:
                if not left or not have_collided(error):
                    raise
            g.pop("access", None)  # its rows belong to a transaction that was undone
        raise AssertionError("unreachable")
