"""Working hours and holidays of a project, as a person or a program enters them."""

from collections.abc import Mapping, Sequence
from typing import Any

from pbxhub.account.access import Access
from pbxhub.account.refusals import Refusal
from pbxhub.translatable import Sentence, say
from pbxhub.webhooks.conditions import WITHOUT_VALUE
from pbxhub.webhooks.matching import conditions_of
from pbxhub.webhooks.spec import FieldError, WebhookSpec
from pbxhub.webhooks.working_time import (
    LONGEST_LINE,
    MOST_HOLIDAYS,
    MOST_HOURS,
    read_holiday,
    read_working_hours,
)

_MOST = {"working_hours": MOST_HOURS, "holidays": MOST_HOLIDAYS}


def read_working_time(given: Mapping[str, Sequence[str]]) -> dict[str, list[str]] | list[Refusal]:
    """The lines of those of working_hours and holidays that are given, or everything that is wrong with them."""
    found = {
        name: [line.strip() for line in given[name] if line.strip()] for name in _MOST if given.get(name) is not None
    }
    refused = [each for name, lines in found.items() for each in _refusals(name, lines)]
    return refused or found


def _refusals(name: str, lines: list[str]) -> list[Refusal]:
    if len(lines) > _MOST[name]:
        counted = say("This has %(count)s lines.", count=len(lines))
        return [Refusal(name, counted, say("Give up to %(most)s.", most=_MOST[name]))]
    return [refused for line in lines if (refused := _refusal(name, line))]


def _refusal(name: str, line: str) -> Refusal | None:
    if len(line) > LONGEST_LINE or not line.isprintable():
        why = say("%(line)s is too long or has an invisible character.", line=repr(line[:LONGEST_LINE]))
        return Refusal(name, why, say("Give up to %(most)s characters a line.", most=LONGEST_LINE))
    read: Any = read_working_hours(line) if name == "working_hours" else read_holiday(line)
    if not isinstance(read, Sentence):
        return None
    if name == "working_hours":
        return Refusal(name, read, say("Write it like mon-fri 09:00-18:00 or sat,sun 10:00-14:00."))
    return Refusal(name, read, say("Write it like 2026-12-25, or 12-25 for every year."))


def working_time_notes(access: Access, spec: WebhookSpec) -> list[FieldError]:
    """A warning beside each filter that asks for working hours, while the project has none."""
    if access.project.working_hours:
        return []
    why = say(
        "the project has no working hours yet, so every hour counts as one: set them in the settings of the project"
    )
    return [FieldError(path, why) for path, item in conditions_of(spec.filters) if item.operator in WITHOUT_VALUE]
