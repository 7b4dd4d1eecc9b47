"""Connections to common systems: one JSON file per system, in the form of Preset.

The user fills in each text in [[brackets]], and client id and secret, which the provider shows. No file contains a
secret. The addresses, scopes and habits of a provider are those of its documentation.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pbxhub.translatable import say
from pbxhub.webhooks.connection_spec import ConnectionSpec
from pbxhub.webhooks.gallery import Ask, fill_blanks
from pbxhub.webhooks.spec_json import SpecError, read_as, wrong_at


@dataclass(frozen=True, slots=True)
class Preset:
    """One system. note: where its client id and secret are, and what is special about it."""

    id: str
    name: str
    description: str
    spec: ConnectionSpec
    ask: tuple[Ask, ...] = ()
    note: str = ""


@cache
def presets() -> tuple[Preset, ...]:
    """Every system, by name."""
    entries = (entry for entry in files(__package__).iterdir() if entry.name.endswith(".json"))
    found = [read_as(Preset, json.loads(entry.read_text("utf-8"))) for entry in entries]
    return tuple(sorted(found, key=lambda preset: preset.name.casefold()))


def find_preset(preset_id: str) -> Preset | None:
    return next((preset for preset in presets() if preset.id == preset_id), None)


def filled_in(preset: Preset, data: Any, answers: Mapping[str, str]) -> Any:
    """The data with the values for the brackets. Raises SpecError (path "ask.NAME") for those that are missing."""
    given = {ask.name: answers.get(ask.name, "").strip() for ask in preset.ask}
    if missing := [ask for ask in preset.ask if not given[ask.name]]:
        raise SpecError(
            [wrong_at(f"ask.{ask.name}", "is empty; give %(label)s", label=say(ask.label)) for ask in missing]
        )
    return fill_blanks(data, given)
