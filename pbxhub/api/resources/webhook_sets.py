"""Sets of webhooks: listed, switched, renamed and deleted together."""

from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.crm_calls import address_of, set_with_address
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.account.webhook_sets import WebhookSet, remove_set, rename_set, set_named, sets_of, switch_set, warnings_of
from pbxhub.api.authentication import changes, reads
from pbxhub.api.resources.webhooks import webhooks
from pbxhub.api.schemas import webhooks as schemas
from pbxhub.api.schemas.base import page_of


@webhooks.get("/sets")
@webhooks.response(200, page_of(schemas.WebhookSet))
@reads("account.read")
def sets(session: Session, access: Access) -> Any:
    """Every set with its events, and what is missing in their chains."""
    return {"items": [_shown(session, access, each) for each in sets_of(session, access)], "next": None}


@webhooks.put("/sets/enabled")
@webhooks.arguments(schemas.SetNamed, location="query")
@webhooks.arguments(schemas.Switch)
@webhooks.response(200, schemas.WebhookSet)
@changes("webhooks.change")
def switch_together(session: Session, access: Access, chosen: dict[str, Any], data: dict[str, Any]) -> Any:
    """Switches all events of a set on or off. If one of them lacks something, none is switched."""
    found = set_named(session, access, chosen["name"])
    switch_set(session, access, found, data["enabled"])
    return _shown(session, access, found)


@webhooks.put("/sets")
@webhooks.arguments(schemas.SetNamed, location="query")
@webhooks.arguments(schemas.WebhookSet)
@webhooks.response(200, schemas.WebhookSet)
@changes("webhooks.change")
def rename(session: Session, access: Access, chosen: dict[str, Any], data: dict[str, Any]) -> Any:
    """Renames a set; its events keep their names."""
    rename_set(session, access, set_named(session, access, chosen["name"]), data["name"])
    return _shown(session, access, set_named(session, access, data["name"].strip()))


@webhooks.delete("/sets")
@webhooks.arguments(schemas.SetNamed, location="query")
@webhooks.response(204)
@changes("webhooks.change")
def delete_together(session: Session, access: Access, chosen: dict[str, Any]) -> None:
    """Deletes all events of a set: pending deliveries are cancelled, sent ones stay in the history."""
    remove_set(session, access, set_named(session, access, chosen["name"]))


def _shown(session: Session, access: Access, found: WebhookSet) -> dict[str, Any]:
    warnings = warnings_of(live_webhooks(session, access))
    told = [(row.name, error) for row in found.webhooks for error in warnings.get(row.id, ())]
    has_address = access.may("keys.change") and set_with_address(session, access) == found.name
    return {
        "dial_address": address_of(session, access) if has_address else "",
        "name": found.name, "enabled": found.enabled, "webhooks": found.webhooks,
        "warnings": [f"{name}: {error.path} {error.message}" for name, error in told],
    }  # fmt: skip
