"""Generates docs/parameters.md: python -m pbxhub.webhooks.docs_of_params > docs/parameters.md"""

import sys

from pbxhub.calls.stages import CALL_STAGES
from pbxhub.webhooks.catalogue import CHAIN, ENTRIES, FAMILIES, LATER_STAGES, QUESTION, STAGES
from pbxhub.webhooks.value_filters import FILTERS

_HEAD = """# Parameters

This page is generated from `pbxhub/webhooks/catalogue.py`.

Write `<<name>>` in any value, header, query parameter, path or body of a webhook. Names in brackets are aliases.
A JSON value that is exactly one placeholder keeps its type; with other text around it, it becomes a text.
If a parameter has no value, the field's rule for empty values applies.
"""

_FILTERS = {
    "unix": "seconds since 1970",
    "unix_ms": "milliseconds since 1970",
    "unix_us": "microseconds since 1970",
    "iso": "ISO 8601 with the offset of the project's time zone",
    "date": "strftime pattern",
    "digits": "only the digits 0-9",
    "e164": "phone number in E.164, by the project's country; empty when it is not a phone number",
    "upper": "capital letters",
    "lower": "small letters",
    "trim": "no white space at the ends",
    "default": "this text when the value is empty",
    "md5": "hash, hex in lower case",
    "crc32": "checksum, unsigned, eight hex digits",
    "sha1": "hash, hex in lower case",
    "sha256": "hash, hex in lower case",
    "map": "replaces values; `*` is any other; without `*` others stay. A target like 4, 1.5 or true is not a text",
    "mmss": "seconds as minutes:seconds",
    "mul": "multiplied by a number, exact; numbers of up to 100 digits",
    "text": "a number or a boolean as a text",
    "html": "`&`, `<` and `>` escaped, for Slack and Telegram",
    "json": "the value as JSON with its quotes, for bodies written by hand",
}


def page() -> str:
    """The whole page in Markdown."""
    return "\n".join([_HEAD, *_parameters(), "", *_families(), "", *_filters(), "", *_stages(), ""])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _parameters() -> list[str]:
    rows = [_row("name", "type", "meaning", "stages", "example", "source"), "|---|---|---|---|---|---|"]
    for entry in ENTRIES:
        names = f"`{entry.name}`" + (f" ({', '.join(f'`{name}`' for name in entry.aliases)})" if entry.aliases else "")
        rows.append(_row(names, entry.type, entry.meaning, _moments(entry.stages), f"`{entry.example}`", entry.source))
    return rows


def _families() -> list[str]:
    rows = ["## Names that you or a receiver make up", ""]
    rows += [_row("name", "type", "meaning", "stages", "example", "source"), "|---|---|---|---|---|---|"]
    for family in FAMILIES:
        name = f"`{family.prefix}{'NAME' if family.prefix.endswith('.') else ''}`"
        example = f"`<<{family.example}>>`"
        rows.append(_row(name, family.type, family.meaning, _moments(family.stages), example, family.source))
    return rows


def _filters() -> list[str]:
    rows = ["## Filters", "", "`<<calldate|unix>>`, `<<caller|digits|sha256>>`: up to eight, from left to right."]
    rows += ["An empty value stays empty, except through `default`, `map` and `json`.", ""]
    rows += [_row("filter", "meaning"), "|---|---|"]
    for name, kind in FILTERS.items():
        rows.append(_row(f"`{name}:{kind.argument}`" if kind.argument else f"`{name}`", _FILTERS[name]))
    return rows


def _stages() -> list[str]:
    end = "A webhook of the stage `chain` goes only when another one names it as its next, with that call's values."
    return ["## Stages", "", ", ".join(f"`{stage}`" for stage in STAGES), "", end]


def _moments(stages: tuple[str, ...]) -> str:
    if set(stages) == set(STAGES) - {CHAIN, QUESTION}:
        return "all"
    if set(stages) == {*CALL_STAGES, *LATER_STAGES}:
        return "all of a call"
    return ", ".join(stages)


if __name__ == "__main__":
    sys.stdout.write(page())
