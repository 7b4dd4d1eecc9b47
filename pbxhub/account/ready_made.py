"""Webhooks that come ready-made: those of the gallery, and the Google Analytics event that every project has."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.refusals import NotFoundError, Refusal
from pbxhub.account.webhook_drafts import Draft, live_webhooks, read_draft
from pbxhub.account.webhooks import change, create
from pbxhub.store.accounts import lock_project
from pbxhub.store.webhooks import Webhook
from pbxhub.translatable import say
from pbxhub.webhooks.gallery import Item, Ready, default_event, fill
from pbxhub.webhooks.spec import dump_spec

_MEASUREMENT_ID = re.compile(r"G-[A-Z0-9]{4,20}")
_LONGEST_SECRET = 200  # characters


@dataclass(frozen=True, slots=True)
class GoogleAnalytics:
    """What the locked event needs to know of a data stream."""

    measurement_id: str
    api_secret: str


def add_ready(session: Session, access: Access, item: Item, answers: Mapping[str, str], secret: str) -> list[Webhook]:
    """The webhooks of a ready-made integration, switched off, under names that are free. Raises SpecError."""
    lock_project(session, access.project.id)  # or another request takes the name that is free now
    ready_made = fill(item, answers)
    names = _free_names(ready_made, {row.name for row in live_webhooks(session, access)})
    added: list[Webhook] = []
    for ready in reversed(ready_made):  # a webhook can name only webhooks that exist: the last of a chain comes first
        spec = replace(
            ready.spec,
            on_success=names.get(ready.spec.on_success, ""),
            on_failure=names.get(ready.spec.on_failure, ""),
            wait_for=names.get(ready.spec.wait_for, ""),
        )
        wanted = {"name": names[ready.name], "stage": ready.stage, "enabled": False, "spec": dump_spec(spec)}
        given = {"secret": secret} if spec.request.auth.has_secret else {}
        added.append(create(session, access, read_draft(session, access, {**wanted, **given}, None)))
    return _in_order_of_file(added)


def _free_names(ready_made: Sequence[Ready], taken: set[str]) -> dict[str, str]:
    """The name in the file -> the name in the project."""
    names: dict[str, str] = {}
    for ready in ready_made:
        candidates = chain((ready.name,), (f"{ready.name} ({number})" for number in count(2)))
        names[ready.name] = next(name for name in candidates if name not in taken)
        taken.add(names[ready.name])
    return names


def _in_order_of_file(added: list[Webhook]) -> list[Webhook]:
    positions = sorted(webhook.position for webhook in added)
    for webhook, position in zip(reversed(added), positions, strict=True):
        webhook.position = position
    return added[::-1]


def set_up_google_analytics(
    session: Session, access: Access, webhook: Webhook, given: GoogleAnalytics
) -> list[Refusal]:
    """Sets up the locked event and switches it on, or says what is wrong. Raises NotFoundError for any other event."""
    if not webhook.locked:
        raise NotFoundError
    if refused := _refusals(given):
        return refused
    spec = fill(default_event(), {"measurement_id": given.measurement_id})[0].spec
    draft = Draft(webhook.name, webhook.stage, True, spec, given.api_secret)
    change(session, access, webhook, draft, "Google Analytics set up")
    return []


def _refusals(given: GoogleAnalytics) -> list[Refusal]:
    refused = []
    if not _MEASUREMENT_ID.fullmatch(given.measurement_id):
        wrong = say("This is not a measurement id.")
        refused.append(Refusal("measurement_id", wrong, say("Write it like G-ABC123DEF4.")))
    if not 1 <= len(given.api_secret) <= _LONGEST_SECRET or not given.api_secret.isprintable():
        refused.append(
            Refusal(
                "api_secret",
                say("This is not an API secret."),
                say("Copy it from the data stream: 1 to 200 characters."),
            )
        )
    return refused
