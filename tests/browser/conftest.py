"""A site with a lived-in project, a worker, a receiver, and browsers that are signed in."""

import ipaddress
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import select

from pbxhub.calls.stages import CallReport, Stage
from pbxhub.delivery.outbox import publish
from pbxhub.store.accounts import Pbx
from pbxhub.store.session import Database
from pbxhub.testing.receivers.receiver import Receiver, Responder
from pbxhub.wsgi.current import now
from tests.browser import world
from tests.browser.server import Site, chromium, serving, working
from tests.support.outbox_world import context_of

expect.set_options(timeout=30_000)
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chrome() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Site]:
    """A hub that has just been started for the first time, with a worker."""

    def nothing(_app: Flask, _database: Database) -> int:
        return 0

    with serving(tmp_path, nothing, LOOPBACK) as site, working(site, LOOPBACK):
        yield site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A hub with the flower shop, with a worker."""
    with serving(tmp_path, world.fill, LOOPBACK) as site, working(site, LOOPBACK):
        yield site


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@contextmanager
def receiving(responder: Responder | None = None) -> Iterator[Receiver]:
    """A receiver, started and stopped on a thread of its own: this one runs the browser's event loop."""
    receiver = Receiver(responder)
    with ThreadPoolExecutor(1) as aside:
        aside.submit(receiver.__enter__).result()
        try:
            yield receiver
        finally:
            aside.submit(receiver.__exit__, None, None, None).result()


@pytest.fixture
def open_page(chrome: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a fresh browser window; whatever the page's script throws fails the test."""
    contexts: list[BrowserContext] = []
    thrown: list[str] = []

    def opened(**options: object) -> Page:
        context = chrome.new_context(**options)  # type: ignore[arg-type]
        context.set_default_timeout(30_000)  # the machines of CI are slow, and busy with other things
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: thrown.append(str(error)))
        page.on("console", lambda said: "Content Security Policy" in said.text and thrown.append(said.text))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert thrown == []


@pytest.fixture
def anna(site: Site, open_page: Callable[..., Page]) -> Page:
    """The owner of the flower shop, signed in."""
    return sign_in(open_page(), site)


def sign_in(page: Page, site: Site, email: str = world.EMAIL, password: str = world.PASSWORD) -> Page:
    page.goto(f"{site.url}/sign-in")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/projects/**")
    return page


def ring(site: Site, linkedid: str, caller: str = "+380671112233", answered: bool = False, over: bool = True) -> None:
    """A call, over or just begun, as the listener would report it."""
    end = now()
    start = end - timedelta(seconds=20)
    values = {"caller": caller, "dst": "380441234567", "billsec": 12 if answered else 0, "disposition": "NO ANSWER"}
    after = Stage("incoming.after", "", 1, end, values)
    report = CallReport(
        linkedid, "incoming", caller, "Ірина", "380441234567", "", start, None, end, "NO ANSWER", values
    )
    told = replace(report, stages=(after,))
    if not over:
        told = replace(report, stages=(Stage("incoming.before", "", 1, start, {}),), ended_on=None, disposition="")
    with site.database.read() as session:
        pbx = session.scalars(select(Pbx.id)).first()
    assert pbx is not None
    publish(context_of(site.database), pbx, [told], now())
