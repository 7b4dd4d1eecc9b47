"""A program switches, renames, exports and deletes webhooks of one set together."""

from typing import Any

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
