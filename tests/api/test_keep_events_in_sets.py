"""A program switches, renames, exports and deletes webhooks of one set together."""

from typing import Any

import pytest

from pbxhub.webhooks.spec import RequestSpec, WebhookSpec, dump_spec
from tests.support.served import Served
from tests.support.signing_in import program


def spec(**names: str) -> Any:
    return dump_spec(WebhookSpec(RequestSpec(url="https://crm.example.com/"), **names))  # type: ignore[arg-type]


def test_a_set_is_one_thing_for_programs_too(hub: Served) -> None:
    script = program(hub, "admin")
    for name, names in (("Register", {}), ("Finish", {"wait_for": "Register"})):
        body = {"name": name, "stage": "incoming.after", "set": "CRM / 1", "spec": spec(**names)}
        assert script.post("/api/v1/webhooks", json=body).get_json()["set"] == "CRM / 1"
    query = {"name": "CRM / 1"}
    off = script.put("/api/v1/sets/enabled", query_string=query, json={"enabled": False}).get_json()
    assert (off["enabled"], [one["enabled"] for one in off["webhooks"]]) == (False, [False, False])
    script.put("/api/v1/sets/enabled", query_string=query, json={"enabled": True})
    assert script.put("/api/v1/sets", query_string=query, json={"name": "CRM"}).get_json()["name"] == "CRM"
    assert script.get("/api/v1/webhooks/export?set=CRM").get_json()["webhooks"][0]["set"] == "CRM"
    register = next(one["id"] for one in script.get("/api/v1/sets").get_json()["items"][0]["webhooks"])
    assert script.delete(f"/api/v1/webhooks/{register}").status_code == 204
    (left,) = script.get("/api/v1/sets").get_json()["items"]
    assert left["warnings"] == ["Finish: wait_for names the webhook Register, which does not exist"]
    assert script.delete("/api/v1/sets?name=CRM").status_code == 204
    assert script.get("/api/v1/sets").get_json()["items"] == []
    assert script.delete("/api/v1/sets?name=CRM").status_code == 404
    wrong = script.post(
        "/api/v1/webhooks", json={"name": "x", "stage": "incoming.after", "set": "a\nb", "spec": spec()}
    )
    assert (wrong.status_code, wrong.get_json()["errors"][0]["path"]) == (422, "set")


ANSWERS = {"portal": "b.bitrix24.com", "default_user": "1"}
BITRIX = {"answers": ANSWERS, "client_id": "local.1", "secret": "s3cret"}


def test_a_set_comes_with_the_address_for_calls_from_its_crm(hub: Served) -> None:
    script = program(hub, "admin")
    assert script.get("/api/v1/gallery/bitrix24-telephony").get_json()["dial"].startswith("OnExternalCallStart")
    added = script.post("/api/v1/gallery/bitrix24-telephony", json={**BITRIX, "dial": True})
    assert added.status_code == 201, added.get_json()
    (ours,) = script.get("/api/v1/sets").get_json()["items"]
    assert "/dial?key=" in ours["dial_address"]
    assert program(hub, "write").get("/api/v1/sets").get_json()["items"][0]["dial_address"] == ""
    path = ours["dial_address"].partition("/dial")[2]
    assert script.get(f"/dial{path}&from=101&to=1").status_code == 422, "the key is right, and there is no dial plan"
    assert script.delete("/api/v1/sets?name=Bitrix24: telephony").status_code == 204
    assert script.get(f"/dial{path}&from=101&to=1").status_code == 403


def test_a_set_without_calls_from_the_crm_has_no_address(hub: Served) -> None:
    script = program(hub, "admin")
    assert script.post("/api/v1/gallery/bitrix24-telephony", json=BITRIX).status_code == 201
    assert [each["dial_address"] for each in script.get("/api/v1/sets").get_json()["items"]] == [""]


@pytest.mark.parametrize(
    ("scope", "item", "body", "words"),
    [
        ("write", "bitrix24-telephony", BITRIX, "needs the role owner, or a key with the scope admin"),
        ("admin", "slack", {"answers": {"url": "https://hooks.slack.com/services/T0/B0/X1"}}, "leave it out"),
    ],
)
def test_an_address_that_cannot_be_made_is_refused_and_nothing_is_added(
    hub: Served, scope: str, item: str, body: dict[str, Any], words: str
) -> None:
    script = program(hub, scope)
    refused = script.post(f"/api/v1/gallery/{item}", json={**body, "dial": True})
    (error,) = refused.get_json()["errors"]
    assert (refused.status_code, error["path"], words in error["message"]) == (422, "dial", True)
    assert script.get("/api/v1/webhooks").get_json()["items"] == []


def test_a_file_says_how_many_subscribers_it_lacks(hub: Served) -> None:
    script = program(hub, "admin")
    assert "subscribers_left_out" not in script.get("/api/v1/webhooks/export").get_json()
    for number in (1, 2):
        url = f"https://hooks.example.com/{number}"
        path = "/api/v1/resthooks/incoming.after/subscribers"
        assert script.post(path, json={"target_url": url}).status_code == 201
    file = script.get("/api/v1/webhooks/export").get_json()
    assert file["subscribers_left_out"] == 2
    planned = script.post("/api/v1/webhooks/import?dry_run=true", json=file).get_json()
    assert (planned["subscribers_left_out"], planned["written"]) == (2, 0)
