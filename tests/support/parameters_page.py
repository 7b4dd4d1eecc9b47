"""Generates docs/parameters.md: python -m tests.support.parameters_page > docs/parameters.md"""

import sys
import textwrap

from pbxhub.calls.stages import CALL_STAGES, OPTIONAL_STAGES
from pbxhub.webhooks.catalogue import CHAIN, ENTRIES, FAMILIES, LATER_STAGES, QUESTION, STAGES
from pbxhub.webhooks.value_filters import FILTERS

_HEAD = """# Parameters

This page is generated from `pbxhub/webhooks/catalogue.py`.

Write `<<name>>` in any value, header, query parameter, path or body of a webhook. Names in brackets are aliases.
A JSON value that is exactly one placeholder keeps its type; with other text around it, it becomes a text.
A part of a list or an object has its path: `<<legs[0].number>>`, `<<details.caller>>`, `<<analysis.mood>>`.
If a parameter has no value, the field's rule for empty values applies.
A value of the PBX is kept whole up to 2,000 characters; a longer one ends in `…`. The path of a recording is whole.
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
    "replace": "every OLD becomes NEW; without NEW it is removed",
    "slice": "characters of a text or items of a list, counted from 0, without the one at the end; a negative number "
    "counts from the end: `slice:-10:` is the last ten",
    "join": "the items of a list with this text between them",
    "first": "the first item of a list",
    "last": "the last item of a list",
    "mmss": "seconds as minutes:seconds",
    "mul": "multiplied by a number, exact; numbers of up to 100 digits",
    "div": "divided by a number, exact up to 20 digits after the point",
    "add": "plus a number",
    "sub": "minus a number",
    "round": "rounded to so many digits after the point, half away from zero",
    "text": "a number or a boolean as a text",
    "html": "`&`, `<` and `>` escaped, for Slack and Telegram",
    "base64": "the text in base64",
    "json": "the value as JSON with its quotes, for bodies written by hand",
}

_STAGES = {
    "incoming.before": "a call from outside reached the PBX",
    "incoming.forward": "a phone rings for it, or it is diverted, transferred, parked or redirected",
    "incoming.pickup": "an employee, or an outside number, talks with the caller; again for each new party",
    "incoming.after": "the conversation is over",
    "incoming.evaluation": "the caller gave a mark in the menu after the call",
    "incoming.unring": "a phone stopped ringing without taking the call: see `extension` and `ring_status`",
    "incoming.abandoned": "the caller hung up while waiting in a queue",
    "call.voicemail": "the dialplan says that the call went to voicemail (UserEvent PBXHubDisposition); with "
    "`Gosub(pbxhub-voicemail,…)`, `recording` is the message that the caller has left",
    "call.hold": "one side put the other on hold",
    "call.unhold": "the hold is over: taken back, or the side that held hung up",
    "internal.before": "an extension calls another: the first phone rings",
    "internal.pickup": "that call was picked up; again for each new party",
    "internal.after": "it is over, or became a call to the outside or a part of one (a consultation before a transfer)",
    "outgoing.before": "the first leg towards the outside is dialled",
    "outgoing.pickup": "the outside number answered",
    "outgoing.after": "the conversation is over",
    "call.recording": "after the end, when there is a recording",
    "call.analysis": "an analysis was added by API",
    "call.complete": "the very end of a call, marks included",
    "form.sent": "a form was sent, reported by API",
    "dialog.opened": "a dialogue was opened, reported by API",
    "dialog.closed": "a dialogue was closed, reported by API",
    "deal.changed": "a deal changed, reported by API",
    "call.question": "the dialplan asks while the call waits: see [call control](call-control.md)",
    "chain": "only when another webhook names this one as its next, with that call's values",
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
    rows = ["## Stages", "", _row("stage", "when"), "|---|---|"]
    rows += [_row(f"`{stage}`", _STAGES[stage]) for stage in STAGES]
    optional = ", ".join(f"`{stage}`" for stage in OPTIONAL_STAGES)
    return [
        *rows,
        "",
        *textwrap.wrap(f"These are reported only while a webhook of the project waits for them: {optional}.", 120),
        "`pbxhub replay FILE --optional all` shows them in a recording.",
        "",
        "The hub reads them from CEL, too, if it was down or not connected. CEL has no holds: `call.hold` and",
        "`call.unhold` are then missing. `incoming.abandoned` needs `queue` in `apps` and `APP_END` in `events` of",
        "`cel.conf`, and `call.voicemail` a `CELGenUserEvent` beside the UserEvent: `asterisk-conf/` has both.",
    ]


def _moments(stages: tuple[str, ...]) -> str:
    if set(stages) == set(STAGES) - {CHAIN, QUESTION}:
        return "all"
    if set(stages) == {*CALL_STAGES, *OPTIONAL_STAGES, *LATER_STAGES}:
        return "all of a call"
    return ", ".join(stages)


if __name__ == "__main__":
    sys.stdout.write(page())
