"""A password is chosen at the first start, changed, or set anew: one rule, and one spelling of it."""

import html
import unicodedata
from collections.abc import Callable

import pytest
from flask import Flask

from pbxhub.account.first_owner import first_setup
from pbxhub.settings import Settings
from pbxhub.store.session import Database
from pbxhub.wsgi.current import now
from tests.support.people import FORM, PASSWORD, Browser, People

SignedIn = Callable[[str], Browser]
EASY = "This is easy to guess. A few unrelated words are better."


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("password123", EASY),
        ("aaaaaaaaaaaa", EASY),
        ("short", "This is too short. Use at least 10 characters."),
    ],
)
def test_an_easy_password_is_refused_in_the_same_words_wherever_it_is_chosen(
    app: Flask, database: Database, settings: Settings, browser: Callable[[], Browser], password: str, sentence: str
) -> None:
    link = first_setup(settings, database, now()).link
    first = browser()
    first.get(link)
    assert sentence in html.unescape(first.post(link, {**FORM, "password": password}).text)
    assert first.post(link, FORM).status_code == 302
    first.get("/change-password")
    form = {"password": FORM["password"], "new_password": password, "new_password_confirm": password, "submit": "1"}
    assert sentence in html.unescape(first.post("/change-password", form).text)


def test_the_name_in_the_address_is_no_password_when_it_is_changed(people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    owner.get("/change-password")
    form = {"password": PASSWORD, "new_password": "the owner 1", "new_password_confirm": "the owner 1", "submit": "1"}
    assert EASY in html.unescape(owner.post("/change-password", form).text)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_who_chose_letters_with_marks_signs_in_from_any_keyboard(
    app: Flask, database: Database, settings: Settings, browser: Callable[[], Browser], form: str
) -> None:
    password = "мій їжак їсть йогурт"
    link = first_setup(settings, database, now()).link
    first = browser()
    first.get(link)
    assert first.post(link, {**FORM, "password": unicodedata.normalize("NFC", password)}).status_code == 302
    assert browser().sign_in(FORM["email"], unicodedata.normalize(form, password)).status_code == 302
