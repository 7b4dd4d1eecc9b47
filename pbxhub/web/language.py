"""English, Ukrainian and the catalogues of the operator: chooses the language and translates texts."""

import re
from collections.abc import Iterable
from functools import cache
from io import BytesIO
from pathlib import Path

import structlog
from babel import Locale, UnknownLocaleError
from babel.messages.catalog import PYTHON_FORMAT, Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Flask, current_app, g, request
from flask_babel import LazyString
from flask_login import current_user

from pbxhub.translatable import Sentence

log = structlog.get_logger()

_CATALOGUES = Path(__file__).parent / "translations"
_LONGEST_CODE = 5  # as users' rows have room for
_NAMELESS = re.compile(r"%(?!\()")  # Python would fill it with everything there is
_NUMBERS = range(200)  # a rule of plural forms that stands these stands the others


def install(app: Flask, added: Path) -> None:
    """Templates translate by the same catalogues as _, and can name the language and list them all.

    added: the operator's folder of catalogues, one CODE.po for a language: de.po, pt_BR.po. It may not exist.
    """
    own = _own_catalogues(added)
    app.extensions["pbxhub.languages"] = {"en": "English", "uk": "Українська"} | {code: _name(code) for code in own}
    app.extensions["pbxhub.catalogues"] = own
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


def lazy_gettext(text: str) -> LazyString:
    """The text in the language of the request that shows it: for what is written once, as the labels of a form."""
    return LazyString(_, text)


def said(text: str) -> str:
    """A Sentence of the lower layers in the language of this request; any other text unchanged."""
    if not isinstance(text, Sentence):
        return text
    return _(text.text, **{name: said(each) if isinstance(each, str) else each for name, each in text.values.items()})


def _gettext(text: str) -> str:
    return str(_catalogue().gettext(text))


def _ngettext(one: str, many: str, count: int) -> str:
    return str(_catalogue().ngettext(one, many, count))


def _catalogue() -> NullTranslations:
    """The catalogue of this request, the operator's own before the one that ships; English texts are in the code."""
    found: NullTranslations | None = g.get("catalogue")  # a long list asks for every text of every row
    if found is None:
        own: dict[str, Translations] = current_app.extensions["pbxhub.catalogues"]
        found = g.catalogue = own.get(language()) or _shipped(language())
    return found


@cache
def _shipped(code: str) -> NullTranslations:
    return Translations.load(_CATALOGUES, [code], "messages")


def _own_catalogues(added: Path) -> dict[str, Translations]:
    """The catalogues of a folder by their codes. A file that is no catalogue is left out, and the log says why."""
    found = {}
    for path in sorted(added.glob("*.po")):
        try:
            found[path.stem] = _compiled(path)
        except Exception as error:  # noqa: BLE001 (whatever a file makes Babel raise, the hub starts without it)
            log.warning(
                "translation file cannot be read; ignoring it",
                file=str(path),
                reason=f"{type(error).__name__}: {error}",
            )
    return found


def _name(code: str) -> str:
    return (Locale.parse(code).get_display_name() or code).capitalize()


def _compiled(path: Path) -> Translations:
    """A catalogue, without translations that would break a page. Raises whatever its text makes Babel raise."""
    if len(path.stem) > _LONGEST_CODE:
        raise UnknownLocaleError(path.stem)
    Locale.parse(path.stem)
    with path.open("rb") as file:
        catalog = read_po(file, locale=path.stem, abort_invalid=True)
    wrong = [message for message in catalog if message.id and not _fits(catalog, message)]
    if wrong:
        log.warning(
            "translations ignored; they would break a page",
            file=str(path),
            texts=[str(message.id)[:80] for message in wrong[:20]],
        )
    for message in wrong:
        message.string = ("",) * catalog.num_plurals if message.pluralizable else ""
    compiled = BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    found = Translations(compiled)
    for number in _NUMBERS:
        found.plural(number)
    return found


def _fits(catalog: Catalog, message: Message) -> bool:
    """Whether the translation can be filled in wherever the English text can: a template fills in every text."""
    english = _each(message.id)
    found = (hole for text in english for hole in PYTHON_FORMAT.findall(text))
    holes: dict[str, object] = {name: "text" if kind == "s" else 1 for name, _, kind in found}
    holes |= {"num": 1} if message.pluralizable else {}
    if not all(_fills(text, holes) for text in english):  # no template has it, and code shows it as it is
        return True
    return not message.check(catalog) and all(_fills(text, holes) for text in _each(message.string))


def _each(texts: str | Iterable[str] | None) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts or ())


def _fills(text: str, holes: dict[str, object]) -> bool:
    if _NAMELESS.search(text.replace("%%", "")):
        return False
    try:
        return bool(text % holes) or not text
    except (KeyError, TypeError, ValueError, ArithmeticError, MemoryError):
        return False
