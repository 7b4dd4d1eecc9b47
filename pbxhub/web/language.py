"""English, Ukrainian and the catalogues of the operator: chooses the language and translates texts."""

from functools import cache
from io import BytesIO
from pathlib import Path

import structlog
from babel import Locale, UnknownLocaleError
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from babel.support import NullTranslations, Translations
from flask import Flask, current_app, g, request
from flask_login import current_user

from pbxhub.translatable import Sentence

log = structlog.get_logger()

_CATALOGUES = Path(__file__).parent / "translations"
_LONGEST_CODE = 5  # as users' rows have room for


def install(app: Flask, added: Path) -> None:
    """Templates translate by the same catalogues as _, and can name the language and list them all.

    added: the operator's folder of catalogues, one CODE.po for a language: de.po, pt_BR.po. It may not exist.
    """
    app.extensions["pbxhub.languages"] = {"en": "English", "uk": "Українська"} | _names(added)
    app.extensions["pbxhub.catalogues"] = added
    app.jinja_env.install_gettext_callables(_gettext, _ngettext, newstyle=True)  # type: ignore[attr-defined]
    app.jinja_env.filters["said"] = said
    app.jinja_env.globals["languages"] = languages
    app.jinja_env.globals["locale"] = language


def languages() -> dict[str, str]:
    """Every language that is offered: its code, and its name in itself."""
    found: dict[str, str] = current_app.extensions["pbxhub.languages"]
    return found


def choose() -> str:
    """The user's own choice, then the cookie of the sign-in page, then what the browser asks for."""
    chosen = getattr(current_user, "language", "") or request.cookies.get("language", "")
    return chosen if chosen in languages() else (request.accept_languages.best_match(list(languages())) or "en")


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
    return str(_catalogue(language(), current_app.extensions["pbxhub.catalogues"]).gettext(text))


def _ngettext(one: str, many: str, count: int) -> str:
    return str(_catalogue(language(), current_app.extensions["pbxhub.catalogues"]).ngettext(one, many, count))


@cache
def _catalogue(code: str, added: Path) -> NullTranslations:
    """The catalogue of a language, the operator's own before the one that ships; the English texts are in the code."""
    own = added / f"{code}.po"
    return _compiled(own) if own.is_file() else Translations.load(_CATALOGUES, [code], "messages")


def _names(added: Path) -> dict[str, str]:
    """The languages of a folder. A file that is no catalogue is left out, and the log says why."""
    found = {}
    for path in sorted(added.glob("*.po")):
        try:
            if len(path.stem) > _LONGEST_CODE:
                raise UnknownLocaleError(path.stem)
            name = Locale.parse(path.stem).get_display_name() or path.stem
            _compiled(path)
        except (UnknownLocaleError, PoFileError, ValueError, OSError) as error:
            log.warning("catalogue left out", file=str(path), reason=str(error))
        else:
            found[path.stem] = name.capitalize()
    return found


def _compiled(path: Path) -> Translations:
    """A catalogue, without translations that would break a page: their %(holes)s are not those of the English text."""
    with path.open("rb") as file:
        catalog = read_po(file, locale=path.stem, abort_invalid=True)
    for message, _errors in catalog.check():
        message.string = ("",) * catalog.num_plurals if message.pluralizable else ""
    compiled = BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Translations(compiled)
