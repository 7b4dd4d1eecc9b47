"""A database that is away: pages and API say so and change nothing, instead of looking broken."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from flask import Flask
from sqlalchemy import event

from pbxhub.api import create_api
from pbxhub.store.session import Database
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]


@contextmanager
def away(database: Database) -> Iterator[None]:
    """Nothing can be connected; what was connected is gone."""
    error = sqlite3.OperationalError("disk I/O error") if database.is_sqlite else psycopg.OperationalError("refused")

    def refuse(*_: object) -> None:
        raise error

    database.engine.dispose()
    connecting = database.engine.pool._dialect  # its own; that of its statements is shared among tests
    event.listen(connecting, "do_connect", refuse)
    try:
        yield
    finally:
        event.remove(connecting, "do_connect", refuse)


def test_a_page_says_that_the_database_is_away_and_comes_back_with_it(
    app: Flask, database: Database, people: People, signed_in: SignedIn
) -> None:
    owner, path = signed_in("owner"), f"/projects/{people.project}/deliveries"
    assert owner.get(path).status_code == 200
    with away(database):
        answer = owner.get(path)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert "The database does not answer" in answer.get_data(as_text=True)
        assert "Traceback" not in answer.get_data(as_text=True)
    assert owner.get(path).status_code == 200


def test_the_api_says_that_the_database_is_away(app: Flask, database: Database) -> None:
    api = create_api(app).test_client()
    with away(database):
        answer = api.get("/webhooks", headers={"X-API-KEY": "pbx_some_key", "Host": "localhost"})
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert answer.get_json()["detail"].startswith("The database does not answer.")
