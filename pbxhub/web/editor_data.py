"""Data for the editor's script: the webhook, the parameters, the calls to try it with."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args, get_type_hints

from flask import url_for
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.sample_calls import recent_calls, sample_names
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.store.connections import connections_of
from pbxhub.store.webhooks import Webhook
from pbxhub.web.language import said
from pbxhub.web.stage_groups import stage_groups
from pbxhub.webhooks.catalogue import CHAIN, ENTRIES, FAMILIES, OTHER_STAGES, QUESTION
from pbxhub.webhooks.check import used_parameters
from pbxhub.webhooks.matching import presets
from pbxhub.webhooks.retry import PROFILES
from pbxhub.webhooks.spec import Filter, Parameter, RequestSpec, WebhookSpec, dump_spec
from pbxhub.webhooks.value_filters import FILTERS


def editor_data(session: Session, access: Access, webhook: Webhook, source: Webhook | None) -> dict[str, Any]:
    """JSON for the page, without secrets."""
    others = [row for row in live_webhooks(session, access) if row.id != webhook.id]
    calls = recent_calls(session, access, webhook.stage)[:20]
    return {
        "id": webhook.id,
        "copyOf": source.id if source else None,
        "revision": webhook.revision,
        "name": webhook.name,
        "set": webhook.set_name or "",
        "sets": sorted({row.set_name for row in others if row.set_name}),
        "stage": webhook.stage,
        "enabled": webhook.enabled,
        "spec": dump_spec(webhook.spec),
        "hasSecret": bool(webhook.secret_sealed),
        "hasTlsKey": bool(webhook.tls_key_sealed),
        "connections": [row.name for row in connections_of(session, access.project.id)],
        "connectionsPage": url_for("connections.index", project_id=access.project.id),
        "source": {"stage": source.stage, "name": source.name} if source else None,
        "stageGroups": [
            {"title": title, "stages": [asdict(choice) for choice in choices]} for title, choices in stage_groups()
        ],
        "parameters": parameters(),
        "filters": [{"name": name, "argument": kind.argument} for name, kind in FILTERS.items()],
        "choices": _choices(),
        "presets": {name: [_filter(item) for item in items] for name, items in presets()},
        "retries": {name: list(delays) for name, delays in PROFILES.items()},
        "chain": [row.name for row in others if row.stage == CHAIN],
        "awaitable": [row.name for row in others if row.stage not in (QUESTION, *OTHER_STAGES)],
        "samples": [
            *({"value": code, "name": said(name)} for code, name in sample_names().items()),
            *({"value": str(call.id), "name": f"{call.caller or '—'} → {call.dst}"} for _event, call in calls),
        ],
    }


def parameters() -> list[dict[str, Any]]:
    """The catalogue for the completion of <<."""
    fixed = [
        {"name": entry.name, "type": entry.type, "meaning": entry.meaning, "example": entry.example,
         "stages": entry.stages, "aliases": entry.aliases}
        for entry in ENTRIES
    ]  # fmt: skip
    made_up = [
        {"name": family.example, "type": family.type, "meaning": family.meaning, "example": "",
         "stages": family.stages, "aliases": ()}
        for family in FAMILIES
    ]  # fmt: skip
    return fixed + made_up


def used_names(spec: WebhookSpec) -> Sequence[str]:
    """The parameters a webhook uses, each once."""
    return list(dict.fromkeys(name for _path, name in used_parameters(spec)))


def _choices() -> dict[str, list[str]]:
    """The values each select of the form offers, as the spec allows them."""
    request, parameter = get_type_hints(RequestSpec), get_type_hints(Parameter)
    return {
        "method": list(get_args(request["method"])),
        "format": list(get_args(request["format"])),
        "dateFormat": list(get_args(request["date_format"])),
        "type": list(get_args(parameter["type"])),
        "operator": list(get_args(get_type_hints(Filter)["operator"])),
    }


def _filter(item: Filter) -> dict[str, Any]:
    return {
        "parameter": item.parameter, "operator": item.operator, "value": item.value, "values": list(item.values),
        "filters": [],
    }  # fmt: skip
