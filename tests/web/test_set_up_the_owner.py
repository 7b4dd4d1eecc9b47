"""Somebody starts the hub for the first time and becomes its owner."""

from collections.abc import Callable

from flask import Flask

from pbxhub.settings import Settings
from pbxhub.store.session import Database
from pbxhub.store.vault import Vault
from pbxhub.web.pages.setup import setup_link
from tests.web.conftest import PASSWORD, Browser

FORM = {
    "email": "Anna@Example.com",
    "your_name": "Anna",
    "password": PASSWORD,
    "name": "Shop",
    "time_zone": "Europe/Kyiv",
    "country": "UA",
}


def test_the_link_from_the_terminal_makes_the_owner_once(
    app: Flask, database: Database, settings: Settings, browser: Callable[[], Browser]
) -> None:
    link = setup_link(settings, database, Vault(settings.secret_key))
    assert link.startswith("http://localhost/setup?token=")
    anna = browser()
    assert anna.get(link).status_code == 200
    assert anna.post(link, FORM).status_code == 302
    assert anna.get("/", follow_redirects=True).status_code == 200
    assert setup_link(settings, database, Vault(settings.secret_key)) == ""
    assert browser().get(link).status_code == 404
    assert browser().sign_in("anna@example.com").status_code == 302


def test_without_the_token_there_is_no_setup(app: Flask, browser: Callable[[], Browser]) -> None:
    assert browser().get("/setup").status_code == 404
    assert browser().get("/setup?token=0000").status_code == 404
    assert "printed a link" in browser().get("/").get_data(as_text=True)


def test_a_weak_password_is_refused_with_a_reason(
    app: Flask, database: Database, settings: Settings, browser: Callable[[], Browser]
) -> None:
    link = setup_link(settings, database, Vault(settings.secret_key))
    anna = browser()
    anna.get(link)
    answer = anna.post(link, {**FORM, "password": "short"})
    assert answer.status_code == 422
    assert "at least 10 characters" in answer.get_data(as_text=True)


def test_health_tells_the_state_without_signing_in(app: Flask, browser: Callable[[], Browser]) -> None:
    answer = browser().get("/health")
    assert (answer.status_code, answer.json) == (200, {"status": "ok", "database": "ok", "schema": "current"})
