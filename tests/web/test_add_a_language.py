"""An operator adds a language: one file in the folder of the hub's data."""

from pathlib import Path

import pytest
from flask import Flask

from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings
from pbxhub.store.session import Database
from pbxhub.vault import Vault
from pbxhub.web import create_app
from tests.support.people import Browser, People

# on one kind of database: other tests of the same pages show that these queries go on both
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

_HEADER = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
_GERMAN = f"""{_HEADER}
msgid "Sign in"
msgstr "Anmelden"

msgid "Calls"
msgstr "Anrufe"

#, python-format
msgid "Difference from %(name)s"
msgstr "Unterschied zu %(nome)s"
"""


def hub_with(settings: Settings, database: Database, **files: str) -> Flask:
    folder: Path = settings.data_dir / "languages"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.po").write_text(text)
    return create_app(settings, open_context(settings, database, Vault(settings.secret_key)))


def test_it_is_offered_chosen_and_used(settings: Settings, database: Database, people: People) -> None:
    visitor = Browser(hub_with(settings, database, de=_GERMAN).test_client())
    assert "Deutsch" in visitor.get("/sign-in").text
    assert "Anmelden" in visitor.get("/sign-in", headers={"Accept-Language": "de"}).text
    visitor.sign_in("viewer@example.com")
    assert "Deutsch" in visitor.get("/profile").text
    visitor.post("/profile", {"name": "Anna", "language": "de"})
    page = visitor.get(f"/projects/{people.project}/calls").text
    assert '<html lang="de"' in page
    assert "Anrufe" in page
    assert "Any time" in page, "what is not translated stays English"


def test_a_translation_that_would_break_a_page_is_not_used(
    settings: Settings, database: Database, people: People
) -> None:
    app = hub_with(settings, database, de=_GERMAN)
    with app.test_request_context(headers={"Accept-Language": "de"}):
        source = app.jinja_env.from_string("{{ _('Difference from %(name)s', name='X') }}")
        assert source.render() == "Difference from X"


def test_a_file_that_is_no_catalogue_is_left_out(settings: Settings, database: Database, people: People) -> None:
    broken = "this is no catalogue\n"
    app = hub_with(settings, database, klingon=_GERMAN, xx=_GERMAN, fr=broken, de=_GERMAN)
    assert list(app.extensions["pbxhub.languages"]) == ["en", "uk", "de"]
    assert Browser(app.test_client()).get("/sign-in").status_code == 200


_MANY = f"""{_HEADER[:-1]}
"Plural-Forms: nplurals=2; plural=PLURAL;\\n"

msgid "Calls"
msgstr "Anrufe"
"""


@pytest.mark.parametrize(
    "broken",
    [
        _GERMAN.replace("UTF-8", "CHARSET"),  # what xgettext writes
        _MANY.replace("PLURAL", "rubbish(;"),
        _MANY.replace("PLURAL", "n%0"),
        _MANY.replace("nplurals=2", "nplurals=x"),
        _GERMAN.replace("charset=UTF-8", 'charset=UTF-8\\n"\n"POT-Creation-Date: 2026-13-45 99:99+0000'),
    ],
)
def test_no_file_of_a_language_ends_the_start(
    settings: Settings, database: Database, people: People, broken: str
) -> None:
    app = hub_with(settings, database, de=broken, uk=broken, pl=_GERMAN)
    assert list(app.extensions["pbxhub.languages"]) == ["en", "uk", "pl"]
    page = Browser(app.test_client()).get("/sign-in", headers={"Accept-Language": "uk"}).text
    assert "Увійти" in page, "the Ukrainian that ships stands in for a broken one"


@pytest.mark.parametrize("translation", ["Anmelden 100%", "100% anmelden", "Anmelden %(x)s", "Anmelden %s", "100 %"])
def test_a_translation_with_a_hole_of_its_own_breaks_no_page(
    settings: Settings, database: Database, people: People, translation: str
) -> None:
    app = hub_with(settings, database, de=f'{_HEADER}\nmsgid "Sign in"\nmsgstr "{translation}"\n')
    answer = Browser(app.test_client()).get("/sign-in", headers={"Accept-Language": "de"})
    assert answer.status_code == 200
    assert "Sign in" in answer.text


def test_a_hole_filled_in_another_way_is_not_used(settings: Settings, database: Database, people: People) -> None:
    catalogue = f"""{_HEADER}
msgid "Difference from %(name)s"
msgstr "Unterschied zu %(name)d"

msgid "%(num)s call"
msgid_plural "%(num)s calls"
msgstr[0] "ein Anruf"
msgstr[1] "%(num)s Anrufe, 100 %"

msgid "Calls: 5 %%"
msgstr "Anrufe: 5 %%"
"""
    app = hub_with(settings, database, de=catalogue)
    with app.test_request_context(headers={"Accept-Language": "de"}):
        page = app.jinja_env.from_string(
            "{{ _('Difference from %(name)s', name='X') }}, {{ ngettext('%(num)s call', '%(num)s calls', 1) }}, "
            "{{ _('Calls: 5 %%') }}"
        )
        assert page.render() == "Difference from X, 1 call, Anrufe: 5 %"


def test_forms_speak_it_too_and_the_page_names_it(settings: Settings, database: Database, people: People) -> None:
    catalogue = f"""{_HEADER}
msgid "Your name"
msgstr "Seu nome"

msgid "as the browser"
msgstr "como no navegador"

msgid "At least 10 characters."
msgstr "Ao menos 10 caracteres."
"""
    visitor = Browser(hub_with(settings, database, pt_BR=catalogue).test_client())
    visitor.sign_in("viewer@example.com")
    visitor.post("/profile", {"name": "Anna", "language": "pt_BR"})
    page = visitor.get("/profile").text
    assert "Seu nome" in page
    assert "como no navegador" in page
    assert '<html lang="pt-BR"' in page
    visitor.post("/profile", {"name": "Anna", "language": "en"})
    assert "Your name" in visitor.get("/profile").text
