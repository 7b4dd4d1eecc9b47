"""A user takes webhooks to another hub: export, a dry run that says what would change, import."""

import json
from dataclasses import replace
from typing import Any

import pytest

from pbxhub.webhooks.check import check_spec
from pbxhub.webhooks.gallery import fill, gallery
from pbxhub.webhooks.import_export import Difference, Exported, export_webhooks, plan_import, schema
from pbxhub.webhooks.spec import Auth, SpecError, WebhookSpec

SPEC = check_spec(
    {"request": {"url": "https://crm.example.com/calls", "parameters": [{"name": "a", "value": "<<caller>>"}]}}
)
CRM = Exported("CRM", "incoming.after", SPEC)


def changed(spec: WebhookSpec, **request: Any) -> WebhookSpec:
    return replace(spec, request=replace(spec.request, **request))


def exported(*webhooks: Exported) -> Any:
    return json.loads(json.dumps(export_webhooks(webhooks)))


def errors_of(data: Any, existing: dict[str, Exported] | None = None) -> list[str]:
    with pytest.raises(SpecError) as raised:
        plan_import(data, existing or {})
    return [str(error) for error in raised.value.errors]


def test_everything_of_the_gallery_survives_the_journey() -> None:
    webhooks = [
        Exported(ready.name, ready.stage, ready.spec, enabled=False)
        for item in gallery()
        for ready in fill(item, {ask.name: ask.example for ask in item.ask})
    ]
    plan = plan_import(exported(*webhooks), {})
    assert [change.webhook for change in plan] == webhooks
    assert {change.kind for change in plan} == {"new"}


def test_a_dry_run_says_what_would_change() -> None:
    other = changed(SPEC, method="PUT", parameters=(replace(SPEC.request.parameters[0], value="<<dst>>"),))
    plan = plan_import(
        exported(CRM, Exported("Sheet", "incoming.before", SPEC)), {"CRM": Exported("CRM", "incoming.after", other)}
    )
    assert [(change.kind, change.webhook.name) for change in plan] == [("changed", "CRM"), ("new", "Sheet")]
    assert plan[0].differences == (
        Difference("spec.request.method", "PUT", "POST"),
        Difference("spec.request.parameters[0].value", "<<dst>>", "<<caller>>"),
    )


def test_importing_the_same_again_changes_nothing() -> None:
    (change,) = plan_import(exported(CRM), {"CRM": CRM})
    assert (change.kind, change.differences) == ("same", ())


@pytest.mark.parametrize(
    ("given", "kind", "imported"),
    [({}, "same", "CRM"), ({"set": None}, "same", "CRM"), ({"set": ""}, "changed", ""), ({"set": "B"}, "changed", "B")],
)
def test_a_file_that_names_no_set_leaves_a_webhook_in_its_set(given: Any, kind: str, imported: str) -> None:
    """As files of 0.1.0, which had no sets, and those that were exported before the webhook was put into one."""
    file = exported(CRM)
    file["webhooks"][0] |= given
    (change,) = plan_import(file, {"CRM": replace(CRM, set="CRM")})
    assert (change.kind, change.webhook.set) == (kind, imported)
    assert [each.path for each in change.differences] == ([] if kind == "same" else ["set"])


def test_secrets_do_not_travel_and_the_plan_asks_for_them() -> None:
    secret = Exported("CRM", "incoming.after", changed(SPEC, auth=Auth("basic", username="hub")))
    assert "secret" not in json.dumps(exported(secret))
    assert [change.needs_secret for change in plan_import(exported(secret), {})] == [True]
    assert [change.needs_secret for change in plan_import(exported(secret), {"CRM": secret})] == [False]
    assert [change.needs_secret for change in plan_import(exported(secret), {"CRM": CRM})] == [True]
    assert [change.needs_secret for change in plan_import(exported(CRM), {"CRM": secret})] == [False]


def test_an_own_secret_is_never_taken_along_to_another_address() -> None:
    """The file may come from anybody: who changes the address of a webhook must give its secret again."""
    mine = Exported("CRM", "incoming.after", changed(SPEC, auth=Auth("bearer")))
    theirs = Exported("CRM", "incoming.after", changed(mine.spec, url="https://evil.example/calls"))
    assert [change.needs_secret for change in plan_import(exported(theirs), {"CRM": mine})] == [True]
    moved = Exported("CRM", "incoming.after", changed(mine.spec, url="https://crm.example.com/other"))
    assert [change.needs_secret for change in plan_import(exported(moved), {"CRM": mine})] == [False]


def test_every_mistake_of_a_file_is_told_by_its_path() -> None:
    bad = exported(CRM, CRM, Exported("B", "nowhere", changed(SPEC, url="ftp://x/"), True))
    assert [error.partition(": ")[0] for error in errors_of(bad)] == [
        "webhooks.CRM.name", "webhooks.B.stage", "webhooks.B.url",
    ]  # fmt: skip
    bad["webhooks"][0]["spec"]["request"]["parameters"][0]["value"] = 5
    assert errors_of(bad) == ["webhooks.CRM.parameters.a.value: is a number; give a text"]
    assert errors_of({"webhooks": [], "version": 2}) == ["version: is 2; use one of 1"]
    assert errors_of({"webhooks": [{"name": "x"}]}) == ["webhooks.x.stage: is missing", "webhooks.x.spec: is missing"]
    assert errors_of("x") == ["is a text; give an object"]


def test_chains_are_checked_with_the_webhooks_that_are_there() -> None:
    first = Exported("first", "incoming.after", replace(SPEC, on_success="second"))
    second = Exported("second", "chain", replace(SPEC, on_failure="first"))
    assert errors_of(exported(first)) == ["webhooks.first.on_success: names the webhook second, which does not exist"]
    assert plan_import(exported(first), {"second": Exported("second", "chain", SPEC)})
    assert errors_of(exported(first), {"second": second}) == [
        "webhooks.first.on_success: leads back to itself: first → second → first; a chain must have an end"
    ]


def test_the_file_has_a_schema() -> None:
    definitions = schema()["$defs"]
    assert definitions["Bundle"]["required"] == ["webhooks"]
    assert set(definitions["WebhookSpec"]["properties"]) >= {
        "request",
        "filters",
        "retry",
        "success",
        "answer",
        "limits",
    }
    assert definitions["RequestSpec"]["properties"]["method"]["enum"][0] == "GET"
    assert definitions["RequestSpec"]["properties"]["file"] == {"type": "string", "contentEncoding": "base64"}
