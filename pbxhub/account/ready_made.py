"""Webhooks that come ready-made: those of the gallery, and the Google Analytics event that every project has."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.refusals import NotFoundError, Refusal
from pbxhub.account.webhook_drafts import Draft, live_webhooks, read_draft
from pbxhub.account.webhooks import change, create
from pbxhub.store.accounts import lock_project
from pbxhub.store.webhooks import Webhook
from pbxhub.translatable import say
from pbxhub.webhooks.gallery import Item, default_event, fill
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
    taken = {row.name for row in live_webhooks(session, access)}
    added = []
    for ready in fill(item, answers):
        name, count = ready.name, 2
        while name in taken:
            name, count = f"{ready.name} ({count})", count + 1
        taken.add(name)
        wanted = {"name": name, "stage": ready.stage, "enabled": False, "spec": dump_spec(ready.spec)}
        given = {"secret": secret} if ready.spec.request.auth.kind != "none" else {}
        added.append(create(session, access, read_draft(session, access, {**wanted, **given}, None)))
    return added


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
