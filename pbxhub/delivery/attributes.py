"""Attributes (utm_source, client_id …) kept for a number and a time, and attached to the calls of that number."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from pbxhub.calls.stages import CallReport
from pbxhub.delivery.call_rows import Reported
from pbxhub.delivery.context import DeliveryContext
from pbxhub.store.api import Attributes
from pbxhub.store.bulk import Query
from pbxhub.store.columns import one_of
from pbxhub.webhooks.catalogue import ENTRIES
from pbxhub.webhooks.phones import spell

_NAMES = frozenset(
    entry.name for entry in ENTRIES if entry.source == "API" and "incoming.before" in entry.stages
)  # parameters of the catalogue whose source is the API
_OWN_NAME = re.compile(r"attr\.[a-z][a-z0-9_]{0,59}")


@lru_cache(maxsize=10_000)
def lookup_key(number: str, country: str) -> str:
    """The key of a number, however it is written: the digits of its E.164 form, or its own digits if it has none.

    country: ISO 3166 of the project, for numbers without a country code.
    """
    spelled = spell(number, country).e164 or number
    return "".join(letter for letter in spelled if letter.isascii() and letter.isdigit())[:40]


_ANY = Query(
    select(Attributes.project_id)
    .where(one_of(Attributes.project_id, "project_ids"))
    .order_by(
        Attributes.project_id, Attributes.number
    )  # in the order of the index: the project may own a few rows among many
    .limit(1)
)
_KNOWN = Query(
    select(Attributes.project_id, Attributes.number, Attributes.valid_from, Attributes.valid_until, Attributes.values)
    .where(one_of(Attributes.project_id, "project_ids"))
    .where(one_of(Attributes.number, "numbers"))
    .where(Attributes.valid_until >= bindparam("earliest"))
    .order_by(Attributes.created_on.desc())
    .limit(1000)
)


def attach_attributes(context: DeliveryContext, session: Session, reported: Sequence[Reported]) -> None:
    """Attaches the attributes of their numbers to calls that have just begun. Values that a call has already stay."""
    begun = {one.call.id: one for one in reversed(reported) if one.call.is_new}.values()
    project_ids = {one.call.project_id for one in begun}
    if not project_ids or _ANY.first(session, project_ids=list(project_ids)) is None:
        return
    projects = context.webhook_cache.fetch(session, project_ids)
    keys = {one.call.id: _keys(one.report, projects[one.call.project_id].country) for one in begun}
    numbers = set[str]().union(*keys.values())
    if not numbers:
        return
    rows = _KNOWN.all(
        session,
        project_ids=list(project_ids),
        numbers=list(numbers),
        earliest=min(one.report.started_on for one in begun),
    )
    for one in begun:
        call, begins = one.call, one.report.started_on
        for row in rows:
            is_its_own = row.project_id == call.project_id and row.number in keys[call.id]
            if is_its_own and row.valid_from <= begins <= row.valid_until:
                call.data = {**row.values, **call.data}


def _keys(report: CallReport, country: str) -> set[str]:
    """The keys of the outside number and of our own."""
    return {key for number in (report.caller, report.dst) if (key := lookup_key(number, country))}


def unknown_names(values: Mapping[str, Any]) -> list[str]:
    """The names among these that cannot be attached: neither in the catalogue nor attr.NAME."""
    return [name for name in values if name not in _NAMES and not _OWN_NAME.fullmatch(name)]
