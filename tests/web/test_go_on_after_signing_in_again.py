"""A session ends while somebody fills in a form: nothing that was typed is lost."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from flask import Flask
from sqlalchemy import delete, select, update

from pbxhub.store.accounts import Employee
from pbxhub.store.notices import NoticeTarget
from pbxhub.store.session import Database
from pbxhub.store.sign_in_rows import KeptForm, SignIn
from pbxhub.wsgi.current import now
from tests.support.authenticator import code_of, switch_on
from tests.support.people import PASSWORD, Browser, People

# on one kind of database: other tests of the same pages show that these queries go on both
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

SignedIn = Callable[[str], Browser]
CARD = {"extension": "105", "name": "Олена <b>", "email": "o@example.com", "department": "", "crm_id": "7"}


def end_sessions(database: Database) -> None:
    with database.write() as session:
        session.execute(delete(SignIn))


def sign_in_again(browser: Browser, location: str):
    """From where the browser was sent; returns the answer."""
    page = browser.get(location)
    assert "You are no longer signed in" in page.text
    action = unescape(re.search(r'<form action="([^"]+)"', page.text)[1])
    return browser.post(action, {"email": "owner@example.com", "password": PASSWORD, "submit": "1"})


def value_of(page: str, name: str) -> str:
    field = next(found for found in re.findall(r"<input[^>]*>", page) if f'name="{name}"' in found)
    return unescape(re.search(r'value="([^"]*)"', field)[1])


def test_a_form_comes_back_as_it_was_typed(database: Database, people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    path = f"/projects/{people.project}/employees/new"
    owner.get(path)
    end_sessions(database)
    sent = owner.post(path, CARD)
    assert sent.status_code == 302
    back = sign_in_again(owner, sent.location).location
    assert back.startswith(f"{path}?kept=")
    page = owner.get(back).text
    assert {name: value_of(page, name) for name in CARD} == CARD
    assert "it is not saved yet" in page
    with database.read() as session:
        assert session.scalars(select(Employee)).all() == [], "nothing is saved by itself"
    assert {name: value_of(owner.get(back).text, name) for name in CARD} == CARD, "also after a reload"
    assert owner.post(back, CARD).status_code == 302
    with database.read() as session:
        assert session.scalars(select(Employee.name)).one() == CARD["name"]
    assert value_of(owner.get(path).text, "name") == "", "a new card is empty"


@pytest.mark.slow
def test_it_comes_back_after_a_second_factor_too(database: Database, people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    key, _used = switch_on(owner)
    path = f"/projects/{people.project}/employees/new"
    owner.get(path)
    end_sessions(database)
    asked = sign_in_again(owner, owner.post(path, CARD).location)
    page = owner.get(asked.location).text
    action = unescape(re.search(r'action="([^"]*tf-validate[^"]*)"', page)[1])
    back = owner.post(action, {"code": code_of(key, 1), "submit": "1"}).location
    assert value_of(owner.get(back).text, "extension") == "105"


def test_a_page_of_an_earlier_session_is_filled_in_again(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    """Signed in again in another tab, the old page is sent: its token is no longer good."""
    owner = signed_in("owner")
    path = f"/projects/{people.project}/employees/new"
    owner.get(path)
    old = owner.token
    owner.get("/projects")
    owner.post("/sign-out")
    owner.sign_in("owner@example.com")
    sent = owner.client.post(path, data={"csrf_token": old, **CARD})
    assert sent.status_code == 302
    page = owner.get(sent.location).text
    assert value_of(page, "extension") == "105"
    assert "nothing was changed" in page
    with database.read() as session:
        assert session.scalars(select(Employee)).all() == []


def test_a_form_that_stands_on_another_page_comes_back_there(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    owner = signed_in("owner")
    owner.get(f"/projects/{people.project}/settings")
    end_sessions(database)
    sent = owner.post(f"/projects/{people.project}/alerts", {"address": "boss@example.com"})
    page = owner.get(sign_in_again(owner, sent.location).location).text
    assert value_of(page, "address") == "boss@example.com"
    assert value_of(page, "name") == "Ours", "the other form of the page is as it was"
    with database.read() as session:
        assert session.scalars(select(NoticeTarget)).all() == []


def test_a_button_leads_back_to_its_page_and_says_that_nothing_was_done(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    owner = signed_in("owner")
    owner.get(f"/projects/{people.project}/members")
    end_sessions(database)
    sent = owner.post(f"/projects/{people.project}/members/1", {"role": "none"})
    back = sign_in_again(owner, sent.location).location
    assert back == f"/projects/{people.project}/members"


def test_secrets_are_not_kept_and_the_rest_is_encrypted(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    owner = signed_in("owner")
    path = f"/projects/{people.project}/pbxs/new"
    owner.get(path)
    end_sessions(database)
    data = {"name": "Office", "host": "192.0.2.1", "port": "5038", "username": "hub", "secret": "s3cret-of-ami"}
    back = sign_in_again(owner, owner.post(path, data).location).location
    with database.read() as session:
        row = session.scalars(select(KeptForm)).one()
    assert "Office" not in row.sealed
    page = owner.get(back).text
    assert value_of(page, "name") == "Office"
    assert "s3cret-of-ami" not in page


def test_only_the_same_browser_gets_it_and_only_for_an_hour(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    owner, elsewhere = signed_in("owner"), signed_in("owner")
    path = f"/projects/{people.project}/employees/new"
    owner.get(path)
    sign_in = select(SignIn.id).order_by(SignIn.id).limit(1).scalar_subquery()
    with database.write() as session:
        session.execute(delete(SignIn).where(SignIn.id == sign_in))
    back = sign_in_again(owner, owner.post(path, CARD).location).location
    assert "105" not in elsewhere.get(back).text
    with database.write() as session:
        session.execute(update(KeptForm).values(ends_on=now()))
    assert "105" not in owner.get(back).text


def test_a_browser_that_nobody_has_signed_in_with_keeps_nothing(
    database: Database, people: People, browser: Callable[[], Browser]
) -> None:
    visitor = browser()
    visitor.get("/sign-in")
    path = f"/projects/{people.project}/employees/new"
    assert visitor.post(path, CARD).location == f"/sign-in?next={path}"
    assert visitor.client.post(path, data={"csrf_token": "x", **CARD}).status_code == 400
    with database.read() as session:
        assert session.scalars(select(KeptForm)).all() == []


@pytest.mark.parametrize("what", ["save", "preview", "test"])
def test_the_editor_is_told_keeps_its_page_and_goes_on_with_a_new_token(
    app: Flask, database: Database, people: People, signed_in: SignedIn, what: str
) -> None:
    owner = signed_in("owner")
    path = f"/projects/{people.project}/webhooks/{what}"
    owner.get(f"/projects/{people.project}/webhooks/new")
    payload = {"name": "W", "stage": "incoming.after", "spec": {"request": {"url": "https://example.com/"}}}
    end_sessions(database)
    told = owner.client.post(path, json=payload, headers={"X-CSRFToken": owner.token})
    assert (told.status_code, told.json) == (401, {"error": "signed out"})
    assert owner.client.get("/token").status_code == 302
    old = owner.token
    owner.sign_in("owner@example.com")
    told = owner.client.post(path, json=payload, headers={"X-CSRFToken": old})
    assert (told.status_code, told.headers.get("X-Old-Token")) == (400, "1")
    fresh = owner.client.get("/token").json["token"]
    assert owner.client.post(path, json=payload, headers={"X-CSRFToken": fresh}).status_code in (200, 422)


@pytest.mark.parametrize("target", ["http://[x", "//a]/b", "http://a\u2100b/"])
def test_an_address_that_is_none_leads_to_the_start(
    people: People, browser: Callable[[], Browser], target: str
) -> None:
    visitor = browser()
    assert visitor.get("/sign-in", query_string={"next": target}).location == "/sign-in"
    visitor.get("/sign-in")
    assert visitor.post("/language", {"language": "uk", "back": target}).location == "/"
