"""The dial plan of a PBX: what rings first for an ordered call, which numbers may be called, how many at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import fields, note
from pbxhub.account.refusals import Refusal
from pbxhub.account.texts import read_lines, read_whole_numbers
from pbxhub.steering.number_rules import MOST_RULES, NUMBER, Rules, wrong_rules
from pbxhub.store.accounts import Pbx, lock_project
from pbxhub.store.ordered_calls import DialPlan, dial_plan_of
from pbxhub.translatable import say

LONGEST = {"channel": 100, "context": 80}  # characters
RANGES = {"at_once": (1, 1000), "per_minute": (1, 10_000), "ring_seconds": (5, 300)}
_FIELDS = (*LONGEST, "allowed", *RANGES)


def dial_plan_to_change(session: Session, access: Access, pbx: Pbx) -> DialPlan:
    """The dial plan, which nobody else changes before this transaction is over."""
    lock_project(session, access.project.id)  # two at once must not both be the first to write it
    return dial_plan_of(session, pbx.id)


def change_dial_plan(
    session: Session, access: Access, pbx: Pbx, plan: DialPlan, given: Mapping[str, Any]
) -> list[Refusal]:
    """Changes what is given of a dial plan, or nothing when something is wrong with it."""
    read = _read(given)
    if isinstance(read, list):
        return read
    before = fields(plan, *_FIELDS)
    for name, value in read.items():
        setattr(plan, name, value)
    session.add(plan)
    session.flush()
    note(session, access, "dial plan changed", pbx.name, before, fields(plan, *_FIELDS))
    return []


def refuse_number(plan: DialPlan, number: str, country: str) -> Refusal | None:
    """Why a PBX with this dial plan does not call a number; None when it does. country: of the project, ISO 3166."""
    reason = Rules(tuple(plan.allowed), country=country).refuses(number)
    if not reason:
        return None
    if not NUMBER.fullmatch(number):
        return Refusal("", say("This is not a phone number."), say("Write it like +380441234567."))
    return Refusal("", say("%(why)s.", why=reason), say("An owner can change the dial plan of the PBX."))


def _read(given: Mapping[str, Any]) -> dict[str, Any] | list[Refusal]:
    lines = read_lines(given, LONGEST, frozenset(LONGEST))
    numbers = read_whole_numbers(given, RANGES)
    refused = [one for read in (lines, numbers) if isinstance(read, list) for one in read]
    refused += [*_refuse_words(given), *_refuse_rules(given.get("allowed", ()))]
    if refused or isinstance(lines, list) or isinstance(numbers, list):
        return refused
    return {**lines, **numbers, **({"allowed": list(given["allowed"])} if "allowed" in given else {})}


def _refuse_words(given: Mapping[str, Any]) -> Iterator[Refusal]:
    for name in LONGEST:
        if not _WORD.fullmatch(str(given.get(name) or "").replace("{extension}", "")):
            yield Refusal(name, say("Asterisk would interpret this in another way."),
                          say("Use Latin letters, digits, and / _ - . @ only."))  # fmt: skip
    if "channel" in given and str(given["channel"]).count("{extension}") != 1:
        yield Refusal("channel", say("This must contain {extension} once."), say("Write it like PJSIP/{extension}."))


def _refuse_rules(rules: Sequence[str]) -> Iterator[Refusal]:
    if len(rules) > MOST_RULES:
        counted = say("This has %(count)s rules.", count=len(rules))
        yield Refusal("allowed", counted, say("Give up to %(most)s.", most=MOST_RULES))
    for wrong in wrong_rules(rules[:MOST_RULES]):
        yield Refusal(f"allowed.{wrong.index}", wrong.sentence, wrong.remedy)


_WORD = re.compile(r"[A-Za-z0-9/_\-.@]*")
