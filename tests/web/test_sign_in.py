"""People sign in: with a second factor, after forgetting the password, after being invited."""

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from flask import Flask

from pbxhub.settings import MailServer, Settings
from pbxhub.store.session import Database
from pbxhub.store.vault import Vault
from pbxhub.web import create_app
from tests.web.authenticator import code_of, switch_on
from tests.web.conftest import PASSWORD, Browser, People

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


def test_somebody_invited_chooses_a_password(
    app: Flask, people: People, signed_in: Callable[[str], Browser], browser: Callable[[], Browser]
) -> None:
    owner = signed_in("owner")
    path = f"/projects/{people.project}/members"
    owner.get(path)
    page = owner.post(path, {"email": "Olena@Example.com", "role": "editor"}).get_data(as_text=True)
    link = re.search(r'id="invitation">http://localhost(/reset-password/[^<]+)<', page)[1]
    olena = browser()
    assert olena.sign_in("olena@example.com", "").status_code == 200
    olena.get(link)
    assert olena.post(link, {"password": NEW, "password_confirm": NEW, "submit": "1"}).status_code == 302
    assert olena.sign_in("olena@example.com", NEW).status_code == 302
    assert olena.get(f"/projects/{people.project}/calls").status_code == 200
    again = browser()
    again.get(link)
    again.post(link, {"password": PASSWORD, "password_confirm": PASSWORD, "submit": "1"})
    assert again.sign_in("olena@example.com", PASSWORD).status_code == 200, "the link works once"


class _Box(Message):
    def __init__(self) -> None:
        super().__init__()
        self.mails: list[object] = []

    def handle_message(self, message) -> None:
        self.mails.append(message)


@pytest.fixture
def post_office() -> Iterator[tuple[_Box, MailServer]]:
    box = _Box()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, MailServer("127.0.0.1", port, "hub@example.com", starttls=False)
    controller.stop()


def test_a_forgotten_password_is_set_anew_by_mail(
    database: Database, settings: Settings, people: People, post_office: tuple[_Box, MailServer], tmp_path: Path
) -> None:
    box, server = post_office
    app = create_app(settings, database, Vault(settings.secret_key), mail=server)
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
