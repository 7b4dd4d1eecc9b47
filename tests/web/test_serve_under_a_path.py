"""PBXHUB_PUBLIC_URL=https://example.com/pbx: the hub is served beside other things, and nothing leads out of /pbx."""

import re
from dataclasses import replace
from html import unescape
from urllib.parse import quote, urlsplit

import pytest
from flask import Flask
from werkzeug.test import Client

from pbxhub import services
from pbxhub.account.account_links import Link, link_for
from pbxhub.account.first_owner import first_setup
from pbxhub.delivery.context import open_context
from pbxhub.delivery.links import AS_LONG_AS_KEPT
from pbxhub.opening import OpenHub
from pbxhub.settings import Settings
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.vault import Vault
from pbxhub.wsgi.current import now
from tests.support.page_routes import page_routes
from tests.support.people import PASSWORD, TOKEN, People

# on one kind of database: other tests of the same pages show that these queries go on both
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

URL, PREFIX = "https://example.com/pbx", "/pbx"
# what a browser follows, sends or loads by itself
LINK = re.compile(r"""\s(?:href|action|src|hx-get|hx-post|data-[a-z-]+|content)=["'](/[^"']*)["']""")
QUOTED = re.compile(r'"(/(?:projects|api|static|sign-in|profile|operator)[^"]*)"')


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, public_url=URL)


@pytest.fixture
def app(settings: Settings, database: Database) -> Flask:
    made = services.app(OpenHub(settings, open_context(settings, database, Vault(settings.secret_key))))
    made.testing = True
    return made


@pytest.fixture(params=["the proxy keeps the path", "the proxy takes it off"])
def visitor(request: pytest.FixtureRequest, app: Flask) -> "Visitor":
    return Visitor(app, strips="off" in request.param)


class Visitor:
    """A browser behind the proxy. It refuses every address outside of the path."""

    def __init__(self, app: Flask, strips: bool) -> None:
        def proxy(environ: dict[str, str], start_response):  # type: ignore[no-untyped-def]
            if strips:
                environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(PREFIX) or "/"
            return app(environ, start_response)

        self.client, self.strips, self.token = Client(proxy), strips, ""

    def ask(self, method: str, address: str, **options: object):  # type: ignore[no-untyped-def]
        assert address == PREFIX or address.startswith(f"{PREFIX}/"), f"{address} leads out of {PREFIX}"
        answer = self.client.open(address, method=method, base_url="https://example.com", **options)
        if location := answer.headers.get("Location"):
            to = urlsplit(location)
            assert to.netloc in ("", "example.com"), location
            assert not to.path.startswith("/") or to.path.startswith(PREFIX), f"{address} redirects to {location}"
            answer.to = to.path + (f"?{to.query}" if to.query else "")
        if found := TOKEN.search(answer.get_data(as_text=True) if answer.mimetype == "text/html" else ""):
            self.token = found[1]
        return answer

    def get(self, address: str):  # type: ignore[no-untyped-def]
        return self.ask("GET", address)

    def post(self, address: str, **data: str):  # type: ignore[no-untyped-def]
        headers = {"Referer": URL}
        return self.ask("POST", address, data={"csrf_token": self.token, **data}, headers=headers)

    def sign_in(self, email: str, path: str = "/pbx/sign-in"):  # type: ignore[no-untyped-def]
        self.get(path)
        return self.post(path, email=email, password=PASSWORD, submit="1")


def links(page: str) -> set[str]:
    return {unescape(link) for link in (*LINK.findall(page), *QUOTED.findall(unescape(page)))}


def test_no_link_of_any_page_leaves_the_path(
    app: Flask, visitor: Visitor, people: People, things: dict[str, object], database: Database
) -> None:
    seen: set[str] = set()
    for who in ("owner", "operator"):
        browser = Visitor(app, visitor.strips)
        assert browser.sign_in(f"{who}@example.com").status_code == 302
        waiting = [f"/pbx{path}" for endpoint, method, path in page_routes(app, things) if method == "GET"]
        waiting = [path for path in waiting if "sign-out" not in path and "export/" not in path]
        tried: set[str] = set()
        while waiting:
            address = waiting.pop().partition("#")[0]
            shape = re.sub(r"[0-9a-f-]{20,}|\d+", "0", address.partition("?")[0])
            if shape in tried:
                continue
            tried.add(shape)
            answer = browser.get(address)
            assert answer.status_code != 500, address
            found = links(answer.get_data(as_text=True)) if answer.mimetype == "text/html" else set()
            waiting += [link for link in found if "sign-out" not in link]
            seen |= found
    assert {link for link in seen if not f"{link}/".startswith("/pbx/")} == set()
    assert len(seen) > 60
    with database.read() as session:
        assert session.query(Webhook).count() == 1


def test_a_visitor_comes_back_to_the_page_after_signing_in(visitor: Visitor, people: People) -> None:
    sent = visitor.get(f"/pbx/projects/{people.project}/calls?direction=incoming")
    assert sent.to.startswith("/pbx/sign-in?next=/pbx/projects/")
    back = visitor.sign_in("owner@example.com", sent.to)
    assert back.to == f"/pbx/projects/{people.project}/calls?direction=incoming"
    assert visitor.get(back.to).status_code == 200
    out = visitor.post("/pbx/sign-out")
    assert out.to == "/pbx/sign-in"


def test_the_way_back_leads_to_nothing_else_on_the_host(visitor: Visitor, people: People) -> None:
    visitor.get("/pbx/sign-in")
    assert visitor.post("/pbx/language", language="uk", back="/other/app").to == "/pbx/"
    assert visitor.post("/pbx/language", language="uk", back="/pbx/profile").to == "/pbx/profile"
    for elsewhere in ("/pbxother", "/pbx/../other", "/pbx/a/..", "/pbx/%2e%2e/other", "/pbx/.%2E%2fother", "/pbx/.."):
        assert visitor.post("/pbx/language", language="uk", back=elsewhere).to == "/pbx/"
    assert visitor.post("/pbx/language", language="uk", back="/pbx/a?q=../b").to == "/pbx/a?q=../b"


@pytest.mark.parametrize("elsewhere", ["/other/app", "/pbx/../other", "/pbx/%2e%2e/other"])
def test_signing_in_leads_to_nothing_else_on_the_host(visitor: Visitor, people: People, elsewhere: str) -> None:
    page = visitor.get(f"/pbx/sign-in?next={quote(elsewhere)}")
    assert page.to == "/pbx/sign-in"
    visitor.get(page.to)
    answer = visitor.post("/pbx/sign-in", email="owner@example.com", password=PASSWORD, next=elsewhere)
    assert answer.to == "/pbx/sign-in"
    assert visitor.sign_in("owner@example.com").to == "/pbx/"


def test_cookies_belong_to_the_path(visitor: Visitor, people: People) -> None:
    visitor.get("/pbx/sign-in")
    cookies = visitor.post("/pbx/language", language="uk", back="/pbx/").headers.getlist("Set-Cookie")
    cookies += visitor.sign_in("owner@example.com").headers.getlist("Set-Cookie")
    names = {cookie.partition("=")[0] for cookie in cookies}
    assert names == {"__Secure-pbxhub", "__Secure-pbxhub-device", "language"}
    assert all("Path=/pbx;" in f"{cookie};" and "Secure" in cookie for cookie in cookies), cookies


def test_the_api_and_its_documentation_are_under_the_path(visitor: Visitor, people: People) -> None:
    assert visitor.get("/pbx/api/v1/openapi.json").json["servers"] == [{"url": "/pbx/api/v1"}]
    page = visitor.get("/pbx/api/v1/docs").text
    script = re.search(r'src="(\.\./\.\./static/[^"]+)"', page)
    assert script
    assert visitor.get(f"/pbx/{script[1].removeprefix('../../')}").status_code == 200
    assert visitor.get("/pbx/api/v1/calls").status_code == 401


def test_links_that_leave_the_hub_have_the_path(
    app: Flask, settings: Settings, database: Database, people: People
) -> None:
    with database.write() as session:
        link = link_for(session, app.extensions["pbxhub"], "owner@example.com", now())
    assert isinstance(link, Link)
    assert link.address.startswith("https://example.com/pbx/reset-password/")
    context = app.extensions["pbxhub"].context
    assert context.links.call_card("1").startswith("https://example.com/pbx/calls/")
    assert context.links.recording("1", None, "a.wav", AS_LONG_AS_KEPT, now()).startswith(
        "https://example.com/pbx/recordings/"
    )


def test_the_link_of_the_first_start_has_the_path(settings: Settings, database: Database) -> None:
    assert first_setup(settings, database, now()).link.startswith("https://example.com/pbx/setup?token=")
