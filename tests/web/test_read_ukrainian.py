"""A user reads the pages in Ukrainian."""

import gettext
import html
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Flask

from pbxhub.account.first_owner import first_setup
from pbxhub.settings import Settings
from pbxhub.store.clock import utc_now
from pbxhub.store.session import Database
from tests.support.catalogue import MO, texts, translated
from tests.support.people import Browser, People

_HOLE = re.compile(r"%\(\w+\)s")


def test_every_text_has_its_translation() -> None:
    ours = {message.id: message.string for message in translated() if message.id}
    wanted = [message.id for message in texts() if message.id]
    assert [text for text in wanted if text not in ours] == [], "run python -m tests.support.catalogue and translate"
    assert [text for text, string in ours.items() if not (string if isinstance(string, str) else all(string))] == []


def test_translations_keep_what_is_filled_in() -> None:
    for message in translated():
        if message.id:
            source = message.id[1] if isinstance(message.id, tuple) else message.id
            strings = message.string if isinstance(message.string, tuple) else (message.string,)
            for string in strings:
                assert set(_HOLE.findall(source)) == set(_HOLE.findall(string)), string


def test_the_compiled_catalogue_is_the_one_that_is_read() -> None:
    with MO.open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message in translated():
        if isinstance(message.id, str) and message.id:
            assert compiled.gettext(message.id) == message.string
    assert compiled.ngettext("%(num)s call", "%(num)s calls", 2) == "%(num)s дзвінки"
    assert compiled.ngettext("%(num)s call", "%(num)s calls", 5) == "%(num)s дзвінків"


def test_the_language_is_the_browsers_until_the_user_chooses(
    app: Flask, people: People, browser: Callable[[], Browser]
) -> None:
    visitor = browser()
    assert "Увійти" in visitor.get("/sign-in", headers={"Accept-Language": "uk"}).get_data(as_text=True)
    assert "Sign in" in visitor.get("/sign-in").get_data(as_text=True)
    visitor.post("/language", {"language": "uk", "back": "/sign-in"})
    assert "Увійти" in visitor.get("/sign-in").get_data(as_text=True)
    visitor.post("/language", {"language": "en", "back": "/sign-in"})
    visitor.sign_in("viewer@example.com")
    visitor.get("/profile")
    visitor.post("/profile", {"name": "Anna", "language": "uk"})
    assert "Дзвінки" in visitor.get(f"/projects/{people.project}/calls").get_data(as_text=True)


def test_a_page_is_the_same_in_the_other_language(
    app: Flask, database: Database, settings: Settings, browser: Callable[[], Browser]
) -> None:
    """Also the first page of all, whose address has a token."""
    visitor, link = browser(), urlsplit(first_setup(settings, database, utc_now()).link)
    page = visitor.get(f"{link.path}?{link.query}").get_data(as_text=True)
    [back] = re.findall(r'name="back" value="([^"]*)"', page)
    answer = visitor.post("/language", {"language": "uk", "back": html.unescape(back)})
    assert 'lang="uk"' in visitor.get(answer.location).get_data(as_text=True)
    assert visitor.get(answer.location).status_code == 200


def test_every_page_of_a_project_opens_in_ukrainian(
    app: Flask, people: People, signed_in: Callable[[str], Browser]
) -> None:
    operator = signed_in("operator")
    paths = [
        rule.rule.replace("<int:project_id>", str(people.project))
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and rule.arguments <= {"project_id"} and "/api/" not in rule.rule
    ]
    answers = {path: operator.get(path, headers={"Accept-Language": "uk"}).status_code for path in paths}
    assert len(paths) > 40
    assert {path: code for path, code in answers.items() if code >= 500} == {}
