"""Ready-made webhooks for common systems: one JSON file per integration, in the form of Item.

The user must fill in each text in [[brackets]] before the webhook can be switched on. No item contains a secret; it
says what the system calls the secret that the user must enter.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

from pbxhub.translatable import say
from pbxhub.webhooks.check import check_spec, texts_of
from pbxhub.webhooks.spec import WebhookSpec
from pbxhub.webhooks.spec_json import FieldError, SpecError, read_as, write, wrong_at

_BLANK = re.compile(r"\[\[([a-z_0-9]+)\]\]")
_HOST = re.compile(r"https://\[\[([a-z_0-9]+)\]\]([^/]*)/")  # a blank for a host, or for the first part of one
_BASE = re.compile(r"\[\[([a-z_0-9]+)\]\]/")  # a blank for the beginning of a URL
DEFAULT_EVENT = "google-analytics-4"
Category = Literal["crm", "chat", "table", "analytics", "automation", "other"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One value the user fills in. name: as in [[name]]."""

    name: str
    label: str
    example: str


@dataclass(frozen=True, slots=True)
class Ready:
    """One webhook of an integration. A webhook of the stage "chain" follows another one of the same file."""

    name: str
    stage: str
    spec: WebhookSpec


@dataclass(frozen=True, slots=True)
class Item:
    """One integration.

    category: where the page shows it. ask: the values the user fills in. secret: the system's name for the
    authentication secret; "" when there is none. connection: the preset of the connection that its webhooks use; they
    name it as [[connection]]. dial: the CRM's names of the events by which it begins calls, at the address of the
    project; "" when it begins none. note: what to know before using it, such as that the format should be checked with
    the provider.
    """

    id: str
    name: str
    description: str
    webhooks: tuple[Ready, ...]
    category: Category = "other"
    ask: tuple[Ask, ...] = ()
    secret: str = ""
    connection: str = ""
    dial: str = ""
    note: str = ""


@cache
def gallery() -> tuple[Item, ...]:
    """Every integration, by name."""
    entries = (entry for entry in files(__package__).iterdir() if entry.name.endswith(".json"))
    items = [load_item(json.loads(entry.read_text("utf-8"))) for entry in entries]
    return tuple(sorted(items, key=lambda item: item.name))


def find(item_id: str) -> Item | None:
    return next((item for item in gallery() if item.id == item_id), None)


def default_event() -> Item:
    """After call → Google Analytics 4: in every project, locked, off until measurement id and secret are entered."""
    return next(item for item in gallery() if item.id == DEFAULT_EVENT)


def load_item(data: Any) -> Item:
    """Reads an integration. Raises SpecError with every wrong field."""
    return read_as(Item, data, "spec", "request", "children")


def fill(item: Item, answers: Mapping[str, str]) -> tuple[Ready, ...]:
    """The webhooks of an integration with the user's values filled in, validated.

    Raises SpecError when a value is missing (path "ask.NAME"), or when a webhook with these values cannot be sent.
    """
    missing = [ask for ask in item.ask if not answers.get(ask.name, "").strip()]
    if missing:
        raise SpecError(
            [wrong_at(f"ask.{ask.name}", "is empty; give %(label)s", label=say(ask.label)) for ask in missing]
        )
    filled = as_copied(item, answers)
    specs = [check_spec(fill_blanks(write(ready.spec), filled)) for ready in item.webhooks]
    return tuple(replace(ready, spec=spec) for ready, spec in zip(item.webhooks, specs, strict=True))


def unfilled(spec: WebhookSpec) -> list[FieldError]:
    """Errors for [[brackets]] that are not filled in: such a webhook must not be switched on."""
    return [
        wrong_at(
            path,
            "still contains %(value)s of the template; fill it in before you switch the webhook on",
            value=blank.group(),
        )
        for path, text in texts_of(spec)
        for blank in _BLANK.finditer(text)
        if blank.group(1) in _asked()
    ]


@cache
def _asked() -> frozenset[str]:
    return frozenset(ask.name for item in gallery() for ask in item.ask)


def _host_of(address: str) -> str:
    """The host of a web address; an address that is none stays as it is, and is refused where it is used."""
    try:
        return urlsplit(address).netloc
    except ValueError:
        return address


def as_copied(item: Item, answers: Mapping[str, str]) -> dict[str, str]:
    """The answers, shortened where somebody pasted a whole address for a part of one."""
    found = {name: answer.strip() for name, answer in answers.items()}
    for ready in item.webhooks:
        if (host := _HOST.match(ready.spec.request.url)) and "://" in found[host[1]]:
            found[host[1]] = _host_of(found[host[1]]).removesuffix(host[2])
        elif base := _BASE.match(ready.spec.request.url):
            found[base[1]] = found[base[1]].rstrip("/")
    return found


def fill_blanks(data: Any, answers: Mapping[str, str]) -> Any:
    """The JSON with the answers in place of the [[brackets]]."""
    if isinstance(data, str):
        return _BLANK.sub(lambda blank: answers.get(blank.group(1), blank.group()).strip(), data)
    if isinstance(data, dict):
        return {name: fill_blanks(item, answers) for name, item in data.items()}
    return [fill_blanks(item, answers) for item in data] if isinstance(data, list) else data
