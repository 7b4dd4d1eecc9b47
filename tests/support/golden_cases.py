"""Reads tests/golden/*.txt: what is saved, what is known of the call, and the exact request that must come of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pbxhub.calls.stages import Value
from pbxhub.webhooks import params

GOLDEN = Path(__file__).parents[1] / "golden"
URL = "https://r.example/h"
ZONE = "Europe/Berlin"


@dataclass(frozen=True)
class Case:
    """expected: the request as text, head and body, exactly as it must be; or the lines of a refusal."""

    name: str
    request: Mapping[str, Any]
    gallery: str
    values: Mapping[str, Value]
    zone: str
    country: str
    expected: str


def call_values(changes: Mapping[str, Any] | None = None) -> dict[str, Value]:
    """The call of call.json with these values instead; None removes one."""
    values = json.loads((GOLDEN / "call.json").read_text("utf-8")) | dict(changes or {})
    return params.from_json({name: value for name, value in values.items() if value is not None})


def read_cases(path: Path) -> list[Case]:
    _, *blocks = path.read_text("utf-8").split("\n== ")
    return [_case(block) for block in blocks]


def all_cases() -> list[tuple[str, Case]]:
    return [(path.stem, case) for path in sorted(GOLDEN.glob("*.txt")) for case in read_cases(path)]


def _case(block: str) -> Case:
    given, _, expected = block.partition("\nexpect\n")
    name, *lines = given.split("\n")
    words = dict(line.split(" ", 1) for line in lines if line)
    request = {"url": URL} | json.loads(words.get("request", "{}"))
    values = call_values(json.loads(words.get("values", "{}")))
    zone, country = words.get("zone", ZONE), words.get("country", "")
    return Case(name, request, words.get("gallery", ""), values, zone, country, _expected(expected))


def _expected(text: str) -> str:
    """A body that plain text cannot show is given as a JSON string: =json "a\\n"."""
    text = text.rstrip("\n")
    head, blank, body = text.partition("\n\n")
    if body.startswith("=json "):
        body = json.loads(body.removeprefix("=json "))
    return head + blank + body


@dataclass(frozen=True)
class Refusal:
    """What cannot be saved, and every line of the refusal."""

    name: str
    spec: Any
    lines: list[str]


def read_refusals(path: Path) -> list[Refusal]:
    _, *blocks = path.read_text("utf-8").split("\n== ")
    return [_refusal(block) for block in blocks]


def _refusal(block: str) -> Refusal:
    given, _, expected = block.partition("\nexpect\n")
    name, _, spec = given.partition("\nspec ")
    return Refusal(name, json.loads(spec), expected.strip("\n").split("\n"))
