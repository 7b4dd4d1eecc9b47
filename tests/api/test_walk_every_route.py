"""Every route of the API: without a key, with each scope, and with the key of another project."""

import re
from uuid import UUID

import requests

from pbxhub.account.access import RIGHTS, SCOPES, rights_of_scopes
from pbxhub.store.history import Call
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.store.webhooks import Webhook
from tests.support.served import Served, fill, routes
from tests.support.two_processes import here_and_in_two_processes


def ask(hub: Served, method: str, path: str, key: str | None) -> requests.Response:
    headers = {"X-API-KEY": key} if key else {}
    body = {} if method in ("POST", "PUT", "PATCH") else None
    answer = requests.request(
        method, f"{hub.address}/api/v1{path}", headers=headers, json=body, timeout=20, stream=True
    )
    answer.close()
    return answer


@here_and_in_two_processes("hub")
def test_no_route_answers_without_a_key(hub: Served, ids: dict[str, object]) -> None:
    for method, rule in routes(hub):
        assert ask(hub, method, fill(rule, ids), None).status_code in (401, 429), (method, rule)


def test_every_route_asks_for_a_right_and_a_scope_without_it_is_refused(hub: Served, ids: dict[str, object]) -> None:
    api = hub.app.extensions["pbxhub.api"]
    api.config["API_RATE"] = "10000 per minute"
    needed = {
        (method, rule.rule): getattr(api.view_functions[rule.endpoint], "right", "")
        for rule in api.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    keys = {name: hub.key(name) for name in SCOPES}
    for method, rule in routes(hub):
        right = needed[method, rule]
        assert right in RIGHTS, f"{method} {rule} asks for no right"
        assert (right == "account.read") == (method == "GET" or rule.endswith(">/preview")), (method, rule)
        for name, key in keys.items():
            if right not in rights_of_scopes([name]):
                assert ask(hub, method, fill(rule, ids), key).status_code == 403, (method, rule, name)


@here_and_in_two_processes("hub")
def test_a_stranger_finds_nothing_of_ours_and_changes_nothing(hub: Served, ids: dict[str, object]) -> None:
    hub.app.extensions["pbxhub.api"].config["API_RATE"] = "10000 per minute"
    key = hub.key("read", "write", "call", "admin", project_id=hub.other_id)
    for method, rule in routes(hub):
        named = set(re.findall(r"<(?:[^<>:]+:)?(\w+)>", rule)) - {"item_id"}
        status = ask(hub, method, fill(rule, ids), key).status_code
        if named:
            assert status in (404, 422), (method, rule, status)
        assert status < 500, (method, rule)
    with hub.database.read() as session:
        assert session.get(Call, session.query(Call).one().id) is not None
        assert session.query(Webhook).filter_by(project_id=hub.project_id, deleted_on=None).count() == 1
        assert session.query(OrderedCall).one().status == "registered"


@here_and_in_two_processes("hub")
def test_our_own_key_finds_all_of_it(hub: Served, ids: dict[str, object]) -> None:
    for method, rule in routes(hub):
        if method == "GET" and "stream" not in rule:
            assert ask(hub, method, fill(rule, ids), hub.key("read")).status_code == 200, rule


@here_and_in_two_processes("hub")
def test_a_list_of_a_stranger_holds_nothing_of_ours(hub: Served, ids: dict[str, object]) -> None:
    for path in ("/pbxs", "/numbers", "/employees", "/webhooks", "/calls", "/deliveries", "/events", "/resthooks"):
        assert hub.stranger.get(path)["items"] == []
        assert path == "/events" or hub.client().get(path)["items"], path
    assert [item["id"] for item in hub.stranger.get("/projects")["items"]] == [hub.other_id]
    assert isinstance(ids["call_id"], UUID)


def test_the_description_names_the_scope_and_the_query_of_every_operation(hub: Served) -> None:
    api = hub.app.extensions["pbxhub.api"]
    described = requests.get(f"{hub.address}/api/v1/openapi.json", timeout=20).json()["paths"]
    for rule in api.url_map.iter_rules():
        right = getattr(api.view_functions[rule.endpoint], "right", None)
        for method in rule.methods - {"HEAD", "OPTIONS"} if right else ():
            operation = described[re.sub(r"<(?:[^<>:]+:)?(\w+)>", r"{\1}", rule.rule)][method.lower()]
            scope = RIGHTS[right].scope
            assert operation["security"] == [{"key": [scope]}], (method, rule.rule)
            assert operation["description"].endswith(f"Scope: `{scope}`.")
            listed = {parameter["name"] for parameter in operation.get("parameters", ())}
            assert listed.issuperset(getattr(api.view_functions[rule.endpoint], "query_names", ())), (method, rule.rule)
