"""Every text of the pages, as the Ukrainian catalogue must have it.

After changing texts: python -m tests.support.catalogue adds what is new, translate it in messages.po, run it again.
"""

from pathlib import Path
from typing import get_args

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from pbxhub.account.audit_log import Action
from pbxhub.sending.outcome_pages import EXPLANATIONS
from pbxhub.sending.outcomes import OUTCOMES, STATUS_HINTS
from pbxhub.store.pbx_state_sentences import REASONS
from pbxhub.webhooks.connection_presets import presets
from pbxhub.webhooks.gallery import gallery

ROOT = Path(__file__).parents[2]
PO = ROOT / "pbxhub/web/translations/uk/LC_MESSAGES/messages.po"
MO = PO.with_suffix(".mo")
_METHODS = [("pbxhub/web/**.py", "python"), ("templates/**.html", "jinja2")]
_SAYING = [("pbxhub/**.py", "python")]
_SAYERS = {"say": None, "wrong_at": (2,), "too_many": (4,)}  # functions, and which argument is the text


def texts() -> Catalog:
    """Everything that is translated: of code, templates, and the tables and sentences of the lower floors."""
    catalog = Catalog(locale="uk", project="pbxhub", charset="utf-8")
    keywords = {**DEFAULT_KEYWORDS, "_": None, "lazy_gettext": None}
    found = extract_from_dir(ROOT, _METHODS, keywords=keywords, options_map={}, directory_filter=_wanted)
    for _file, _line, message, _comments, _context in found:
        catalog.add(message)
    for _file, _line, message, _comments, _context in extract_from_dir(ROOT, _SAYING, keywords=_SAYERS):
        catalog.add(message)
    for item in gallery():
        for text in filter(None, (item.description, item.note, item.secret, *(ask.label for ask in item.ask))):
            catalog.add(text)
    for preset in presets():
        for text in filter(None, (preset.description, preset.note, *(ask.label for ask in preset.ask))):
            catalog.add(text)
    for action in get_args(Action):
        catalog.add(action)
    for reason in REASONS.values():
        catalog.add(reason.why)
        catalog.add(reason.advice)
    for outcome in OUTCOMES.values():
        for text in filter(None, (outcome.sentence, outcome.hint)):
            catalog.add(text)
    for why in EXPLANATIONS.values():
        for text in (why.cause, why.seen, why.example, *why.more):
            catalog.add(text)
    for text in STATUS_HINTS.values():
        catalog.add(text)
    return catalog


def translated() -> Catalog:
    """The catalogue as it is in the package."""
    with PO.open("rb") as file:
        return read_po(file, locale="uk")


def update() -> None:
    """Brings messages.po up to date with the texts and compiles it."""
    catalog = translated() if PO.exists() else Catalog(locale="uk", project="pbxhub", charset="utf-8")
    catalog.update(texts(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    with PO.open("wb") as file:
        write_po(file, catalog, width=120, no_location=True, sort_output=True, omit_header=False)
    with MO.open("wb") as file:
        write_mo(file, translated())


def _wanted(folder: str) -> bool:
    """Only the folders of the pages are searched."""
    path = Path(folder).relative_to(ROOT).parts
    return path[:1] in ((), ("templates",)) or path == ("pbxhub",) or path[:2] == ("pbxhub", "web")


if __name__ == "__main__":
    update()
