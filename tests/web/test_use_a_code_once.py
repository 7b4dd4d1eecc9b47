"""Somebody has seen a code of a second factor, and tries it again."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from flask import Flask
from sqlalchemy import select

from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings
from pbxhub.store.accounts import User
from pbxhub.store.session import Database
from pbxhub.vault import Vault
from pbxhub.web import create_app
from tests.support.authenticator import code_of, switch_on
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]


def test_a_code_opens_once_also_in_another_process(
    database: Database, settings: Settings, people: People, signed_in: SignedIn, browser: Callable[[], Browser]
) -> None:
    key, set_up_with = switch_on(signed_in("owner"))
    code = code_of(key, 1)
    other_process = create_app(settings, open_context(settings, database, Vault(settings.secret_key)))
    thief, anna, later = browser(), browser(), Browser(other_process.test_client())
    assert not _enter(thief, set_up_with), "used when it was set up"
    assert _enter(anna, code)
    assert not _enter(later, code), "a second time, elsewhere"
    assert not _enter(later, code_of(key)), "an older one after a newer one"


def test_of_two_who_send_a_code_at_once_one_gets_in(
    people: People, signed_in: SignedIn, browser: Callable[[], Browser]
) -> None:
    key, _used = switch_on(signed_in("owner"))
    code = code_of(key, 1)
    waiting = [_pending(browser()) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda each: each.post("/tf-validate", {"code": code, "submit": "1"}), waiting))
    assert [each.get("/projects").status_code for each in waiting].count(200) == 1


def test_a_recovery_code_opens_once_also_for_two_at_once(
    database: Database, people: People, signed_in: SignedIn, browser: Callable[[], Browser]
) -> None:
    owner = signed_in("owner")
    switch_on(owner)
    owner.get("/mf-recovery-codes")
    page = owner.post("/mf-recovery-codes", {"generate_new_codes": "1"}, follow_redirects=True).text
    codes = re.findall(r"\b[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}\b", page)
    waiting = [_pending(browser()) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda each: each.post("/mf-recovery", {"code": codes[0], "submit": "1"}), waiting))
    assert [each.get("/projects").status_code for each in waiting].count(200) == 1
    with database.read() as session:
        left = session.scalars(select(User.recovery_codes).where(User.email == "owner@example.com")).one()
    assert len(left) == len(set(codes)) - 1


def test_setting_up_another_app_takes_a_code_of_the_same_half_minute(people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    switch_on(owner)
    key, _used = switch_on(owner)
    assert key


def test_a_pending_sign_in_ends_when_the_browser_signs_in_as_somebody_else(
    people: People, signed_in: SignedIn, browser: Callable[[], Browser]
) -> None:
    """The app of the second account must not pass for the app of the first one, whose code was never given."""
    switch_on(signed_in("owner"))
    link = _invited(signed_in("stranger"), people.other)
    thief, elsewhere = browser(), browser()
    _pending(thief)
    thief.get(link)
    thief.post(link, {"your_name": "Bob", "password": "a long phrase of words"})
    thief.get("/tf-setup")
    page = thief.post("/tf-setup", {"setup": "authenticator"}).text
    key = re.search(r"<code>([A-Z2-7 -]+)</code>", page)[1].replace(" ", "").replace("-", "")
    elsewhere.sign_in("bob@example.com", "a long phrase of words")
    elsewhere.get("/change-password")
    new = "another phrase of words"
    changed = {"password": "a long phrase of words", "new_password": new, "new_password_confirm": new, "submit": "1"}
    assert elsewhere.post("/change-password", changed).status_code == 302  # which signs the first browser out
    thief.post("/tf-validate", {"code": code_of(key), "submit": "1"})
    assert thief.get(f"/projects/{people.project}/members").status_code == 302


def test_the_second_factor_is_set_up_by_a_program_too(people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    owner.get("/tf-setup")
    token = {"X-CSRFToken": owner.token}
    made = owner.client.post("/tf-setup", json={"setup": "authenticator"}, headers=token).json["response"]
    path, key = f"/tf-setup/{made['tf_state_token']}", made["tf_authr_b32key"]
    assert owner.client.post(path, json={"code": code_of(key)}, headers=token).status_code == 200


def test_a_request_that_began_earlier_brings_no_used_code_back(
    app: Flask, database: Database, people: People, signed_in: SignedIn
) -> None:
    """It writes what it has changed, and not the rest of the account as it was when the request began."""
    owner = signed_in("owner")
    switch_on(owner)
    accounts = app.extensions["security"].datastore
    with app.test_request_context():
        before = accounts.find_user(email="owner@example.com")
        owner.get("/mf-recovery-codes")
        owner.post("/mf-recovery-codes", {"generate_new_codes": "1"})
        before.password = "changed"
        accounts.put(before)
        accounts.commit()
    with database.read() as session:
        row = session.scalars(select(User).where(User.email == "owner@example.com")).one()
    assert (row.password, len(row.recovery_codes)) == ("changed", 5)


def _invited(owner: Browser, project_id: int) -> str:
    """The link for bob@example.com, whom this owner invites."""
    path = f"/projects/{project_id}/members"
    owner.get(path)
    owner.post(path, {"email": "bob@example.com", "role": "viewer"})
    return re.search(r"/invitations/with/[\w-]+", owner.get(path).text)[0]


def _pending(browser: Browser) -> Browser:
    """With the right password, and not yet a code."""
    answer = browser.sign_in("owner@example.com")
    browser.get(answer.location)
    return browser


def _enter(browser: Browser, code: str) -> bool:
    _pending(browser).post("/tf-validate", {"code": code, "submit": "1"})
    return browser.get("/projects").status_code == 200
