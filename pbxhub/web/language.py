"""English and Ukrainian: chooses the language and translates texts."""

from functools import cache
from pathlib import Path

from babel.support import NullTranslations, Translations
from flask import Flask, g, request
from flask_login import current_user

from pbxhub.translatable import Sentence

LANGUAGES = {"en": "English", "uk": "Українська"}
CATALOGUES = Path(__file__).parent / "translations"


def install(app: Flask) -> None:
    """Templates translate by the same catalogues as _, and can name the language and list them all."""
    app.jinja_env.install_gettext_callables(_gettext, _ngettext, newstyle=True)  # type: ignore[attr-defined]
    app.jinja_env.filters["said"] = said
    app.jinja_env.globals["languages"] = LANGUAGES
    app.jinja_env.globals["locale"] = language


def choose() -> str:
    """The user's own choice, then the cookie of the sign-in page, then what the browser asks for."""
    chosen = getattr(current_user, "language", "") or request.cookies.get("language", "")
    return chosen if chosen in LANGUAGES else (request.accept_languages.best_match(list(LANGUAGES)) or "en")


def language() -> str:
    """The language of this request, chosen once."""
    found: str | None = g.get("language")
    if found is None:
        found = g.language = choose()
    return found


def _(text: str, /, **values: object) -> str:
    """The text in the language of this request, with its %(name)s filled in."""
    found = _gettext(text)
    return found % values if values else found


def said(text: str) -> str:
    """A Sentence of the lower layers in the language of this request; any other text unchanged."""
    if not isinstance(text, Sentence):
        return text
    return _(text.text, **{name: said(each) if isinstance(each, str) else each for name, each in text.values.items()})


def _gettext(text: str) -> str:
    return str(_catalogue(language()).gettext(text))


def _ngettext(one: str, many: str, count: int) -> str:
    return str(_catalogue(language()).ngettext(one, many, count))


@cache
def _catalogue(code: str) -> NullTranslations:
    """The compiled catalogue of a language; the English texts are in the code."""
    return Translations.load(CATALOGUES, [code], "messages")
