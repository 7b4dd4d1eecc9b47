"""Somebody starts the hub for the first time and becomes its owner."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import delete

from pbxhub.account.first_owner import first_setup, remember_owner
from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings
from pbxhub.store.accounts import Project, User
from pbxhub.store.session import Database
from pbxhub.vault import Vault
from pbxhub.web import create_app
from pbxhub.wsgi.current import now
from tests.support.people import FORM, Browser


def test_the_link_of_the_first_start_makes_the_owner_once(
    app: Flask, database: Database, settings: Settings, browser: Callable[[], Browser]
) -> None:
    first = first_setup(settings, database, now())
    assert first.link.startswith("http://localhost/setup?token=")
    later = first_setup(settings, database, now())
    assert later.link == "", "not in the log of a later start"
    assert "pbxhub setup-link" in str(later.sentence)
    anna = browser()
    assert anna.get(first.link).status_code == 200
    assert anna.post(first.link, FORM).status_code == 302
    assert anna.get("/", follow_redirects=True).status_code == 200
    assert first_setup(settings, database, now()).sentence is None
    assert browser().get(first.link).status_code == 404
    assert browser().sign_in("anna@example.com").status_code == 302
    assert first_setup(settings, database, now(), anew=True).link == ""


def test_a_link_asked_for_takes_the_place_of_the_first(
    app: Flask, database: Database, settings: Settings, browser: Callable[[], Browser]
) -> None:
    first = first_setup(settings, database, now()).link
    second = first_setup(settings, database, now(), anew=True).link
    assert browser().get(first).status_code == 404
    assert browser().get(second).status_code == 200


def test_of_several_that_start_at_once_one_prints_the_link(database: Database, settings: Settings) -> None:
    with ThreadPoolExecutor(8) as threads:
        setups = list(threads.map(lambda _number: first_setup(settings, database, now()), range(8)))
    assert [bool(setup.link) for setup in setups].count(True) == 1


def test_of_two_who_have_the_link_one_becomes_the_owner(
    app: Flask, database: Database, settings: Settings, browser: Callable[[], Browser]
) -> None:
    link = first_setup(settings, database, now()).link
    both = [browser(), browser()]
    for each in both:
        each.get(link)
    with ThreadPoolExecutor(2) as threads:
        forms = [{**FORM, "email": f"{name}@example.com"} for name in ("anna", "bob")]
        codes = [done.status_code for done in threads.map(lambda each, form: each.post(link, form), both, forms)]
    assert sorted(codes) == [302, 404]


@pytest.mark.slow
def test_a_hub_whose_database_was_lost_is_given_to_nobody(
    app: Flask, database: Database, settings: Settings, browser: Callable[[], Browser]
) -> None:
    """On the host where the owner was made, and on one where somebody has signed in or that was started since."""
    link = first_setup(settings, database, now()).link
    browser().get(link)
    anna = browser()
    anna.get(link)
    anna.post(link, FORM)
    other_host = replace(settings, data_dir=settings.data_dir / "other")
    first_setup(other_host, database, now())
    with database.write() as session:
        session.execute(delete(User))
        session.execute(delete(Project))
    for host in (settings, other_host):
        visitor = Browser(create_app(host, open_context(host, database, Vault(host.secret_key))).test_client())
        setup = first_setup(host, database, now())
        assert setup.link == ""
        assert "restore the database" in str(setup.sentence)
        page = visitor.get("/")
        assert page.status_code == 503
        assert "restore the database" in page.text
        assert visitor.get(link).status_code == 404
    asked_for = first_setup(settings, database, now(), anew=True).link
    visitor.get(asked_for)
    assert visitor.post(asked_for, FORM).status_code == 302


def test_a_database_of_before_the_owner_does_not_open_the_setup_again(
    app: Flask, database: Database, settings: Settings, browser: Callable[[], Browser]
) -> None:
    link = first_setup(settings, database, now()).link
    remember_owner(settings.data_dir)
    assert browser().get(link).status_code == 404


def test_without_the_token_there_is_no_setup(app: Flask, browser: Callable[[], Browser]) -> None:
    assert browser().get("/setup").status_code == 404
    assert browser().get("/setup?token=0000").status_code == 404
    assert "printed a link" in browser().get("/").get_data(as_text=True)


def test_a_weak_password_is_refused_with_a_reason(
    app: Flask, database: Database, settings: Settings, browser: Callable[[], Browser]
) -> None:
    link = first_setup(settings, database, now()).link
    anna = browser()
    anna.get(link)
    answer = anna.post(link, {**FORM, "password": "short"})
    assert answer.status_code == 422
    assert "at least 10 characters" in answer.get_data(as_text=True)


def test_health_tells_the_state_without_signing_in(app: Flask, browser: Callable[[], Browser]) -> None:
    answer = browser().get("/health")
    assert (answer.status_code, answer.json) == (200, {"status": "ok", "database": "ok", "schema": "current"})
