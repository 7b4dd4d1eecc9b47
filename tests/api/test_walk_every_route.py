"""Every route of the API: without a key, with each scope, and with the key of another project."""

import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
import requests
from served import Served

from pbxhub.account.access import RIGHTS, SCOPES, rights_of_scopes
from pbxhub.store.accounts import Employee, Number
from pbxhub.store.api import Resthook, Subscriber
from pbxhub.store.history import Call, Delivery, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.store.resends import Resend
from pbxhub.store.webhooks import Webhook, WebhookVersion
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec

OPEN = {"/openapi.json", "/docs", "/"}


@pytest.fixture
def ids(hub: Served) -> dict[str, object]:
    """One of everything in our project, by the name of the place in the route."""
    moment = datetime.now(UTC)
    with hub.database.write() as session:
        own = {"project_id": hub.project_id}
        spec = WebhookSpec(request=RequestSpec(url="http://127.0.0.1:9/"))
        webhook = Webhook(**own, name="CRM", stage="incoming.after", spec=spec, created_on=moment)
        employee, number = Employee(**own, extension="101"), Number(**own, pbx_id=hub.pbx_id, did="380445550100")
        call = Call(id=new_id(), **own, pbx_id=hub.pbx_id, linkedid="1.1", direction="incoming", caller="1", dst="2",
                    started_on=moment, ended_on=moment)  # fmt: skip
        hook = Resthook(**own, name="new-lead", created_on=moment)
        session.add_all([webhook, employee, number, call, hook])
        session.flush()
        event = StageEvent(id=new_id(), **own, call_id=call.id, stage="incoming.after", key="", ordinal=1,
                           created_on=moment, data={})  # fmt: skip
        order = OrderedCall(id=new_id(), **own, pbx_id=hub.pbx_id, mobile_number="+380441234567", agent_id="101",
                            created_on=moment)  # fmt: skip
        resend = Resend(id=new_id(), **own, state="running", selection={"ids": []}, current_settings=False, rate=1,
                        total=0, queued=0, stepped_on=moment, created_on=moment)  # fmt: skip
        session.add_all([event, order, resend])
        session.add(WebhookVersion(webhook_id=webhook.id, revision=1, name="CRM", stage="incoming.after",
                                   enabled=True, spec=spec, created_on=moment))  # fmt: skip
        session.flush()
        delivery = Delivery(id=new_id(), **own, webhook_id=webhook.id, webhook_revision=1, stage_event_id=event.id,
                            call_id=call.id, state="failed", lane=1, due_at=moment, method="POST",
                            url="http://127.0.0.1:9/", headers=[], body=b"", created_on=moment)  # fmt: skip
        subscriber = Subscriber(resthook_id=hook.id, webhook_id=webhook.id, target_url="x", created_on=moment)
        session.add_all([delivery, subscriber])
        session.flush()
        return {
            "project_id": hub.project_id, "pbx_id": hub.pbx_id, "number_id": number.id, "employee_id": employee.id,
            "webhook_id": webhook.id, "revision": 1, "call_id": order.id, "delivery_id": delivery.id,
            "resend_id": resend.id, "name": "new-lead", "subscriber_id": subscriber.id, "item_id": "slack",
        }  # fmt: skip


def routes(hub: Served) -> list[tuple[str, str]]:
    api = hub.app.extensions["pbxhub.api"]
    found = [
        (method, rule.rule)
        for rule in api.url_map.iter_rules()
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"})
        if rule.rule not in OPEN
    ]
    assert len(found) > 60
    return found


def fill(rule: str, ids: dict[str, object]) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda place: str(ids[place[1]]), rule)


def ask(hub: Served, method: str, path: str, key: str | None) -> requests.Response:
    headers = {"X-API-KEY": key} if key else {}
    body = {} if method in ("POST", "PUT", "PATCH") else None
    answer = requests.request(
        method, f"{hub.address}/api/v1{path}", headers=headers, json=body, timeout=20, stream=True
    )
    answer.close()
    return answer


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
        assert (right == "account.read") == (method == "GET" or rule.endswith("preview")), (method, rule)
        for name, key in keys.items():
            if right not in rights_of_scopes([name]):
                assert ask(hub, method, fill(rule, ids), key).status_code == 403, (method, rule, name)


def test_a_stranger_finds_nothing_of_ours_and_changes_nothing(hub: Served, ids: dict[str, object]) -> None:
    hub.app.extensions["pbxhub.api"].config["API_RATE"] = "10000 per minute"
    key = hub.key("read", "write", "call", "admin", project_id=hub.other_id)
    for method, rule in routes(hub):
        named = set(re.findall(r"<(?:\w+:)?(\w+)>", rule)) - {"item_id"}
        status = ask(hub, method, fill(rule, ids), key).status_code
        if named:
            assert status in (404, 422), (method, rule, status)
        assert status < 500, (method, rule)
    with hub.database.read() as session:
        assert session.get(Call, session.query(Call).one().id) is not None
        assert session.query(Webhook).filter_by(project_id=hub.project_id, deleted_on=None).count() == 1
        assert session.query(OrderedCall).one().status == "registered"


def test_our_own_key_finds_all_of_it(hub: Served, ids: dict[str, object]) -> None:
    for method, rule in routes(hub):
        if method == "GET" and "stream" not in rule:
            assert ask(hub, method, fill(rule, ids), hub.key("read")).status_code == 200, rule


def test_a_list_of_a_stranger_holds_nothing_of_ours(hub: Served, ids: dict[str, object]) -> None:
    for path in ("/pbxs", "/numbers", "/employees", "/webhooks", "/calls", "/deliveries", "/events", "/resthooks"):
        assert hub.stranger.get(path)["items"] == []
        assert path == "/events" or hub.client().get(path)["items"], path
    assert [item["id"] for item in hub.stranger.get("/projects")["items"]] == [hub.other_id]
    assert isinstance(ids["call_id"], UUID)
