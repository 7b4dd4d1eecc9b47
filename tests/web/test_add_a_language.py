"""An operator adds a language: one file in the folder of the hub's data."""

from pathlib import Path

from flask import Flask

from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings
from pbxhub.store.session import Database
from pbxhub.vault import Vault
from pbxhub.web import create_app
from tests.support.people import Browser, People

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
