"""What holds for the pages holds where they are served to people: `pbxhub web`, two processes, PostgreSQL."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from pbxhub.settings import Settings, read_settings
from tests.support.pages_server import KEY, serving_pages
from tests.web.conftest import Browser
from tests.web.test_walk_every_route import (
    test_a_role_opens_its_own_routes_and_no_others,
    test_a_stranger_learns_nothing,
    test_a_visitor_is_sent_to_sign_in,
    test_an_operator_opens_the_pages_of_operators_and_no_project,
    test_an_owner_sees_every_page,
    test_no_page_breaks_on_odd_addresses,
    things,
)

__all__ = [
    "test_a_role_opens_its_own_routes_and_no_others",
    "test_a_stranger_learns_nothing",
    "test_a_visitor_is_sent_to_sign_in",
    "test_an_operator_opens_the_pages_of_operators_and_no_project",
    "test_an_owner_sees_every_page",
    "test_no_page_breaks_on_odd_addresses",
    "things",
]
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)]


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


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(
        {
            "PBXHUB_DATA_DIR": str(tmp_path / "data"), "PBXHUB_PUBLIC_URL": "http://localhost",
            "PBXHUB_SECRET_KEY": urlsafe_b64encode(KEY).decode(),
        }
    )  # fmt: skip


@pytest.fixture
def browser(database_url: str, tmp_path: Path) -> Iterator[Callable[[], Browser]]:
    with serving_pages("web", database_url, tmp_path) as web:
        yield lambda: Browser(Visitor(web.url))
    assert "Traceback" not in web.said()
