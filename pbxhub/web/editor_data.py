"""Data for the editor's script: the webhook, the parameters, the calls to try it with."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args, get_type_hints

from flask import url_for
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.names import Names, names_of
from pbxhub.account.played_calls import stage_of_history
from pbxhub.account.sample_calls import recent_calls, sample_names
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.store.connections import connections_of
from pbxhub.store.history import Call
from pbxhub.store.webhooks import Webhook
from pbxhub.web.formatting import moment_text
from pbxhub.web.labels import disposition
from pbxhub.web.language import _, said
from pbxhub.web.stage_groups import stage_groups
from pbxhub.webhooks.catalogue import CHAIN, ENTRIES, FAMILIES, OTHER_STAGES, QUESTION
from pbxhub.webhooks.check import used_parameters
from pbxhub.webhooks.matching import PRESETS
from pbxhub.webhooks.retry import PROFILES
from pbxhub.webhooks.spec import Filter, Parameter, RequestSpec, WebhookSpec, dump_spec
from pbxhub.webhooks.value_filters import FILTERS


def editor_data(
    session: Session, access: Access, webhook: Webhook, source: Webhook | None, sample: str = ""
) -> dict[str, Any]:
    """JSON for the page, without secrets. sample: what to begin with, as played_calls.stage_of_history reads it."""
    return {
        **_of_webhook(webhook, source),
        **_of_project(session, access, webhook),
        **_of_every_webhook(),
        **_samples(session, access, webhook.stage, sample),
    }


def _of_webhook(webhook: Webhook, source: Webhook | None) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "copyOf": source.id if source else None,
        "revision": webhook.revision,
        "name": webhook.name,
        "set": webhook.set_name or "",
        "stage": webhook.stage,
        "enabled": webhook.enabled,
        "spec": dump_spec(webhook.spec),
        "hasSecret": bool(webhook.secret_sealed),
        "hasTlsKey": bool(webhook.tls_key_sealed),
        "source": {"stage": source.stage, "name": source.name} if source else None,
    }


def _of_project(session: Session, access: Access, webhook: Webhook) -> dict[str, Any]:
    """What the webhook can name: connections, sets, and the other webhooks."""
    others = [row for row in live_webhooks(session, access) if row.id != webhook.id]
    return {
        "connections": [row.name for row in connections_of(session, access.project.id)],
        "connectionsPage": url_for("connections.index", project_id=access.project.id),
        "sets": sorted({row.set_name for row in others if row.set_name}),
        "chain": [row.name for row in others if row.stage == CHAIN],
        "awaitable": [row.name for row in others if row.stage not in (QUESTION, *OTHER_STAGES)],
    }


def _of_every_webhook() -> dict[str, Any]:
    """What there is to choose from."""
    return {
        "stageGroups": [
            {"title": title, "stages": [asdict(choice) for choice in choices]} for title, choices in stage_groups()
        ],
        "parameters": parameters(),
        "filters": [{"name": name, "argument": kind.argument} for name, kind in FILTERS.items()],
        "choices": _choices(),
        "presets": [
            {"name": one.name, "filters": [_filter(item) for item in one.filters], "stages": one.stages()}
            for one in PRESETS
        ],
        "retries": {name: list(delays) for name, delays in PROFILES.items()},
    }


def _samples(session: Session, access: Access, stage: str, sample: str) -> dict[str, Any]:
    """Calls to try the webhook with; the one to begin with is the first."""
    calls = call_choices(session, access, stage)
    if begun := stage_of_history(session, access, sample):
        names = names_of(session, access.project.id, [begun[1]])
        calls.insert(0, {"value": sample, "name": _of_call(begun[1], names)})
    return {
        "samples": [{"value": code, "name": said(name)} for code, name in sample_names().items()],
        "calls": calls,
        "sample": sample if begun else "",
    }


def call_choices(session: Session, access: Access, stage: str = QUESTION) -> list[dict[str, str]]:
    """The last calls with which a webhook of the stage can be tried."""
    calls = [call for _event, call in recent_calls(session, access, stage)[:20]]
    names = names_of(session, access.project.id, calls)
    return [{"value": str(call.id), "name": _of_call(call, names)} for call in calls]


def _of_call(call: Call, names: Names) -> str:
    """A call in one line: when, who, with whom or where, how it ended."""
    outside = names.employees.get(call.caller) or call.caller or _("anonymous")
    inside = names.employees.get(call.extension) or call.extension or names.numbers.get(call.dst) or call.dst
    ended = disposition(call.disposition) if call.disposition else ""
    return " · ".join(filter(None, (moment_text(call.started_on), f"{outside} → {inside}", ended)))


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
