"""A site with a lived-in project, a worker, a receiver, and browsers that are signed in."""

import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, expect

from pbxhub.store.session import Database
from pbxhub.testing.receivers.receiver import Receiver
from tests.support import shop
from tests.support.site import Site, chromium, receiving, serving, sign_in, working

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
    with serving(tmp_path, shop.fill, LOOPBACK) as site, working(site, LOOPBACK):
        yield site


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


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
