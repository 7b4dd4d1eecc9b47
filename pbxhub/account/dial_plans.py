"""By which rules a PBX places ordered calls: what rings first, what may be dialled, how many at once."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import fields, note
from pbxhub.account.refusals import Refusal
from pbxhub.store.accounts import Pbx
from pbxhub.store.ordered_calls import DialPlan
from pbxhub.translatable import say

_FIELDS = ("channel", "context", "allowed", "at_once", "per_minute", "ring_seconds")


def dial_plan_of(session: Session, pbx_id: int) -> DialPlan:
    """The rules of a PBX, the defaults when nobody has set any."""
    return session.get(DialPlan, pbx_id) or DialPlan(
        pbx_id=pbx_id, channel="PJSIP/{extension}", context="from-internal", allowed=["*"], at_once=10, per_minute=60,
        ring_seconds=30,
    )  # fmt: skip


def change_dial_plan(
    session: Session, access: Access, pbx: Pbx, plan: DialPlan, given: Mapping[str, Any]
) -> list[Refusal]:
    """Changes what is given of the rules; or says everything that is wrong with it."""
    if refused := _refusals(given):
        return refused
    before = fields(plan, *_FIELDS)
    for name in _FIELDS:
        if name in given:
            setattr(plan, name, given[name])
    session.add(plan)
    session.flush()
    note(session, access, "dial plan changed", pbx.name, before, fields(plan, *_FIELDS))
    return []


def _refusals(given: Mapping[str, Any]) -> list[Refusal]:
    found = [
        Refusal(name, say("Asterisk would read this as something else."),
                say("Use Latin letters, digits, and / _ - . @ only."))
        for name in ("channel", "context")
        if not _is_dial_word(given.get(name, "").replace("{extension}", ""))
    ]  # fmt: skip
    if "channel" in given and given["channel"].count("{extension}") != 1:
        found.append(
            Refusal("channel", say("This must hold {extension} once."), say("Write it like PJSIP/{extension}."))
        )
    found += [
        Refusal(f"allowed.{index}", say("This is not the beginning of a number."),
                say("Give digits with an optional +, and * at the end: +38044*."))
        for index, pattern in enumerate(given.get("allowed", ()))
        if pattern not in ("*", "+*") and not _is_pattern(pattern)
    ]  # fmt: skip
    return found


def _is_pattern(text: str) -> bool:
    digits = text.removesuffix("*").removeprefix("+")
    return digits.isascii() and digits.isdigit()


def _is_dial_word(text: str) -> bool:
    return all(letter.isascii() and (letter.isalnum() or letter in "/_-.@") for letter in text)
