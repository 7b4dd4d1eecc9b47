"""People sign in: with a second factor, after forgetting the password, after being invited."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from pbxhub.delivery.context import open_context
from pbxhub.settings import MailServer, Settings
from pbxhub.store.session import Database
from pbxhub.vault import Vault
from pbxhub.web import create_app
from tests.support.authenticator import code_of, switch_on
from tests.support.people import Browser, People
from tests.support.post_office import Box

NEW = "another long password"


def test_a_second_factor_is_asked_for_once_it_is_on(
    app: Flask, people: People, signed_in: Callable[[str], Browser], browser: Callable[[], Browser]
) -> None:
    anna = signed_in("owner")
    assert "Set up an authenticator app" in anna.get("/tf-setup").text
    key, _used = switch_on(anna)
    assert ">on<" in anna.get("/profile").get_data(as_text=True)
    later = browser()
    answer = later.sign_in("owner@example.com")
    assert later.get("/projects").status_code == 302, "the password alone must not be enough"
    later.get(answer.location)
    wrong = later.post("/tf-validate", {"code": "000000", "submit": "1"})
    assert "The code is wrong" in wrong.get_data(as_text=True)
    later.post("/tf-validate", {"code": code_of(key, 1), "submit": "1"})
    assert later.get("/projects").status_code == 200


@pytest.mark.slow
def test_a_forgotten_password_is_set_anew_by_mail(
    database: Database, settings: Settings, people: People, post_office: tuple[Box, MailServer], tmp_path: Path
) -> None:
    box, server = post_office
    app = create_app(settings, open_context(settings, database, Vault(settings.secret_key)), mail=server)
    anna, elsewhere = Browser(app.test_client()), Browser(app.test_client())
    elsewhere.sign_in("owner@example.com")
    anna.get("/reset-password")
    known = anna.post("/reset-password", {"email": "owner@example.com", "submit": "1"})
    anna.get("/reset-password")
    unknown = anna.post("/reset-password", {"email": "nobody@example.com", "submit": "1"})
    assert known.status_code == unknown.status_code
    [mail] = box.mails
    assert mail["To"] == "owner@example.com"
    text = mail.get_payload(decode=True).decode()
    link = re.search(r"http://localhost(/reset-password/\S+)", text)[1]
    anna.get(link)
    anna.post(link, {"password": NEW, "password_confirm": NEW, "submit": "1"})
    assert Browser(app.test_client()).sign_in("owner@example.com", NEW).status_code == 302
    assert elsewhere.get("/projects").status_code == 302, "a new password ends every session"


def test_the_sign_in_page_shows_one_link_for_a_forgotten_password(browser: Callable[[], Browser]) -> None:
    page = browser().get("/sign-in").text
    assert page.count("/reset-password") == 1
    assert "&lt;a" not in page


def test_without_a_mail_server_nobody_waits_for_a_mail(
    app: Flask, people: People, browser: Callable[[], Browser]
) -> None:
    anna = browser()
    page = anna.get("/reset-password").text
    assert "This hub sends no e-mail." in page
    assert "pbxhub user password" in page
    assert 'name="email"' not in page
    refused = anna.post("/reset-password", {"email": "owner@example.com", "submit": "1"})
    assert refused.status_code == 409
    assert "a mail with a link was sent" not in refused.text
