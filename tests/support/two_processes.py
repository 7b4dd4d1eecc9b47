"""What holds here holds where it is served to people: `pbxhub web`, two processes on PostgreSQL."""

from collections.abc import Mapping
from typing import Any

import pytest
import requests

TWO_PROCESSES = "two processes"


def here_and_in_two_processes(fixture: str) -> pytest.MarkDecorator:
    """The test runs in this process on SQLite, and with what the fixture starts on PostgreSQL: two processes."""
    places = [("sqlite", "here"), ("postgresql", TWO_PROCESSES)]
    return pytest.mark.parametrize(("database_url", fixture), places, indirect=True)


class Answer:
    """As Flask's own client gives it."""

    def __init__(self, answer: requests.Response) -> None:
        self.status_code = answer.status_code
        self.location = answer.headers.get("Location", "")
        self._text = answer.text

    def get_data(self, as_text: bool) -> str:
        return self._text


class Visitor:
    """A client over a real connection, with the methods of Flask's that the tests use. No answer may be a fault."""

    def __init__(self, url: str) -> None:
        self._url, self._session = url, requests.Session()

    def get(self, path: str, query_string: Mapping[str, str] | None = None) -> Answer:
        return self._ask("GET", path, params=query_string)

    def post(self, path: str, data: Mapping[str, Any] | None = None, json: object = None) -> Answer:
        return self._ask("POST", path, data=data, json=json)

    def _ask(self, method: str, path: str, **what: Any) -> Answer:
        answer = self._session.request(method, self._url + path, allow_redirects=False, timeout=60, **what)
        assert answer.status_code < 500, (method, path)
        return Answer(answer)
