"""Resthooks, events that are no calls, and attributes that find their call."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from pbxhub.client import ProblemError
from pbxhub.delivery.outbox import publish
from pbxhub.delivery.outbox.own_webhooks import add_own_webhook
from pbxhub.store.accounts import Project
from pbxhub.store.api import Resthook, Subscriber
from pbxhub.store.webhooks import touch_webhooks
from pbxhub.testing.receivers.mock_answers import text_response
from pbxhub.testing.receivers.mock_server import MockServer, regex
from pbxhub.testing.waiting import await_until
from pbxhub.vault import Vault
from tests.support.outbox_world import report
from tests.support.served import Served

Working = Callable[[], None]
VAULT = Vault(b"k" * 32)


def types(hub: Served) -> list[str]:
    return [row.type for row in hub.events()]


def hook(hub: Served, name: str, address: str, stage: str, **parameters: str) -> None:
    tree = [{"name": name, "value": value} for name, value in parameters.items()]
    spec = {"request": {"url": address, "parameters": tree}}
    hub.client().add("/webhooks", {"name": name, "stage": stage, "spec": spec})


def test_a_hook_without_subscribers_is_called_all_the_same(hub: Served) -> None:
    program = hub.client()
    program.add("/resthooks", {"name": "new-lead"})
    called = program.add("/resthooks/new-lead/call", {"payload": {"id": 7}})
    assert called["deliveries"] == []
    (event,) = hub.events()
    assert (event.type, event.data) == ("resthook_called", {"resthook": "new-lead", "payload": {"id": 7}})


@pytest.mark.slow
def test_each_subscriber_gets_the_payload_and_one_that_answers_410_is_unsubscribed(
    hub: Served, receiver: MockServer, working: Working
) -> None:
    receiver.respond("POST", "/stays", text_response("ok"))
    receiver.respond("POST", "/goes", text_response("gone", status=410))
    program = hub.client()
    program.add("/resthooks", {"name": "new-lead"})
    for path in ("stays", "goes", "stays"):
        program.add("/resthooks/new-lead/subscribers", {"target_url": f"{receiver.url}/{path}"})
    assert program.get("/resthooks")["items"][0]["subscribers"] == 2
    program.add("/resthooks/new-lead/call", {"payload": {"id": 7}})

    def only_one_left() -> None:
        left = [one["target_url"] for one in program.get("/resthooks/new-lead/subscribers")["items"]]
        assert left == [f"{receiver.url}/stays"]
        assert types(hub) == ["resthook_called", "webhook_called", "webhook_called"]

    await_until(only_one_left)
    shown = {event["url"]: event for event in program.all("/events", type="webhook_called")}
    assert shown[f"{receiver.url}/goes"]["status"] == "subscriber_gone"
    assert shown[f"{receiver.url}/goes"]["status_code"] == 410
    assert shown[f"{receiver.url}/stays"]["status"] == "success"
    assert {event["resthook"] for event in shown.values()} == {"new-lead"}, "also of the subscriber that is removed"
    assert receiver.last_request("/stays").body == '{"id": 7}'
    program.add("/resthooks/new-lead/call", {"payload": [1]})
    await_until(lambda: receiver.request_count("/stays") == 2)
    assert receiver.request_count("/goes") == 1
    program.remove("/resthooks/new-lead")
    assert program.get("/resthooks")["items"] == []


def test_subscribers_do_not_stand_among_the_webhooks(hub: Served, receiver: MockServer) -> None:
    program = hub.client()
    program.add("/resthooks", {"name": "new-lead"})
    program.add("/resthooks/new-lead/subscribers", {"target_url": receiver.url})
    program.order_call("+380441234567", "101", callback_url=receiver.url)
    assert program.get("/webhooks")["items"] == []


def test_a_form_that_was_sent_becomes_a_webhook(hub: Served, receiver: MockServer, working: Working) -> None:
    receiver.respond("*", regex(".*"), text_response("ok"))
    hook(
        hub, "CRM", receiver.url + "/crm", "form.sent", mail="<<form.email>>", source="<<utm_source>>", id="<<call_id>>"
    )
    program = hub.client()
    form = {
        "stage": "form.sent",
        "fields": {"email": 'a"b@example.com'},
        "attributes": {"utm_source": "google"},
        "key": "f1",
    }
    first, again = program.add("/events/in", form), program.add("/events/in", form)
    assert (first["deliveries"], again["deliveries"], again.id) == (1, 1, first.id)
    await_until(lambda: receiver.request_count("/crm") == 1)
    asked = receiver.last_request("/crm")
    assert (asked.json("mail"), asked.json("id")) == ('a"b@example.com', None)


def test_attributes_kept_for_a_number_come_with_its_next_call(
    hub: Served, receiver: MockServer, working: Working
) -> None:
    receiver.respond("*", regex(".*"), text_response("ok"))
    hook(hub, "ads", receiver.url + "/ads", "incoming.before", source="<<utm_source>>", own="<<attr.roistat>>")
    program, moment = hub.client(), datetime.now(UTC)
    values = {"utm_source": "google", "client_id": "7.8", "attr.roistat": "123"}
    program.add("/attributes", {"number": "+380 44 123-45-67", "values": values})
    for linkedid, began in (("early", moment - timedelta(hours=1)), ("now", moment + timedelta(seconds=2))):
        called = report(linkedid, "incoming.before", started_on=began)
        publish(hub.context, {hub.pbx_id: [called]}, moment)
    await_until(lambda: receiver.request_count("/ads") == 2)
    assert sorted(str(asked.json("source")) for asked in receiver.requests) == ["None", "google"]
    assert sorted(str(asked.json("own")) for asked in receiver.requests) == ["123", "None"]
    assert hub.client().get("/calls", number="+380441234567")["items"][0]["values"]["client_id"] == "7.8"


@pytest.mark.parametrize("given", ["0501112233", "+380 50 111-22-33", "380501112233", "00380501112233"])
@pytest.mark.parametrize("caller", ["+380501112233", "0501112233"])
def test_a_number_is_found_however_the_two_have_written_it(hub: Served, given: str, caller: str) -> None:
    """In the country of the project: what a form asks for is national, what a trunk tells often is not."""
    with hub.database.write() as session:
        session.get_one(Project, hub.project_id).country = "UA"
        touch_webhooks(session, hub.project_id)
    kept = hub.client().add("/attributes", {"number": given, "values": {"utm_source": "google"}})
    assert kept["number"] == "380501112233"
    moment = datetime.now(UTC) + timedelta(seconds=2)
    publish(
        hub.context,
        {hub.pbx_id: [report("1.1", "incoming.before", started_on=moment, caller=caller)]},
        moment,
    )
    assert hub.client().get("/calls")["items"][0]["values"]["utm_source"] == "google"


def test_attributes_come_with_outgoing_calls_too(hub: Served, receiver: MockServer, working: Working) -> None:
    receiver.respond("*", regex(".*"), text_response("ok"))
    hook(hub, "ads", receiver.url + "/ads", "outgoing.before", source="<<utm_source>>", own="<<attr.roistat>>")
    moment = datetime.now(UTC)
    hub.client().add("/attributes", {"number": "+380441234567", "values": {"utm_source": "bing", "attr.roistat": "9"}})
    began = moment + timedelta(seconds=2)
    publish(hub.context, {hub.pbx_id: [report("1", "outgoing.before", direction="outgoing", started_on=began)]}, moment)
    await_until(lambda: receiver.request_count("/ads") == 1)
    asked = receiver.last_request("/ads")
    assert (asked.json("source"), asked.json("own")) == ("bing", "9")


def test_only_attributes_can_be_attached(hub: Served) -> None:
    for values in ({"caller": "112"}, {"utm_sauce": "x"}, {"attr.Roistat": "x"}, {"attr.": "x"}, {"attr.a.b": "x"}):
        with pytest.raises(ProblemError) as caught:
            hub.client().add("/attributes", {"number": "1", "values": values})
        assert caught.value.errors[0][0] == f"values.{next(iter(values))}"


def test_a_call_complete_webhook_has_everything(hub: Served, receiver: MockServer, working: Working) -> None:
    receiver.respond("*", regex(".*"), text_response("ok"))
    hook(hub, "flow", receiver.url + "/all", "call.complete", all="<<details>>", missed="<<is_missed>>")
    hook(hub, "tape", receiver.url + "/tape", "call.recording", link="<<recording>>")
    moment = datetime.now(UTC)
    told = {"billsec": 49, "recording_file": "/var/spool/a.wav", "disposition": "ANSWERED"}
    over = report("1.1", "incoming.after", values=told, started_on=moment, ended_on=moment)
    publish(hub.context, {hub.pbx_id: [over]}, moment)
    publish(hub.context, {hub.pbx_id: [over]}, moment)
    await_until(lambda: len(receiver.requests) == 2)
    assert receiver.last_request("/all").json("all.billsec") == 49
    assert receiver.last_request("/all").json("missed") is True
    assert "/recordings/" in receiver.last_request("/tape").json("link")


MISSED = [{"parameter": "is_answered", "operator": "equals", "value": "false"}]


@pytest.mark.slow
def test_a_program_subscribes_to_a_stage_of_calls(hub: Served, receiver: MockServer, working: Working) -> None:
    receiver.respond("*", regex(".*"), text_response("ok"))
    program = hub.client()
    hook_path = "/resthooks/incoming.after/subscribers"
    program.add(hook_path, {"target_url": f"{receiver.url}/every"})
    made = program.add(hook_path, {"target_url": f"{receiver.url}/missed", "filters": MISSED})
    assert made["filters"] == MISSED
    for linkedid, answered in (("1.1", True), ("1.2", False)):
        values = {"is_answered": answered, "billsec": 5 if answered else 0}
        publish(hub.context, {hub.pbx_id: [report(linkedid, "incoming.after", values=values)]}, datetime.now(UTC))
    await_until(lambda: receiver.request_count("/every") == 2 and receiver.request_count("/missed") == 1)
    sent = receiver.last_request("/missed")
    assert (sent.json("event"), sent.json("call_id"), sent.json("billsec")) == ("incoming.after", "1.2", 0)
    assert sent.json("is_answered") is False
    assert program.get("/webhooks")["items"] == []
    assert [one["name"] for one in program.get("/resthooks")["items"]] == ["incoming.after"]


def test_a_second_subscription_of_an_address_sets_its_filters(hub: Served) -> None:
    program = hub.client()
    path, wanted = "/resthooks/incoming.after/subscribers", {"target_url": "https://hooks.example.com/1"}
    first = program.add(path, wanted)
    again = program.add(path, {**wanted, "filters": MISSED})
    assert (again["id"], again["filters"]) == (first["id"], MISSED)
    assert len(program.get(path)["items"]) == 1


def test_an_address_known_to_a_full_hook_may_change_its_filters(hub: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbxhub.account.resthook_subscribers.MOST_SUBSCRIBERS", 1)
    program, path = hub.client(), "/resthooks/incoming.after/subscribers"
    first = program.add(path, {"target_url": "https://hooks.example.com/1"})
    again = program.add(path, {"target_url": "https://hooks.example.com/1", "filters": MISSED})
    assert (again["id"], again["filters"]) == (first["id"], MISSED)
    with pytest.raises(ProblemError, match="1 subscribers"):
        program.add(path, {"target_url": "https://hooks.example.com/2"})


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("<<caller>>", "has no parameters"),
        ("a%zz", "two hexadecimal digits"),
        ("../x", "as a path segment"),
    ],
)
def test_an_address_that_would_not_be_requested_as_it_is_is_refused(hub: Served, path: str, sentence: str) -> None:
    program = hub.client()
    with pytest.raises(ProblemError) as refused:
        program.add("/resthooks/incoming.after/subscribers", {"target_url": f"https://hooks.example.com/{path}"})
    ((field, message),) = refused.value.errors
    assert (refused.value.status, field) == (422, "target_url")
    assert sentence in message


def test_a_subscriber_from_before_hooks_of_stages_gets_the_stage(hub: Served) -> None:
    """Until 0.1.0 a hook of that name was one of the project's own."""
    program, moment, url = hub.client(), datetime.now(UTC), "https://hooks.example.com/1"
    program.add("/resthooks", {"name": "incoming.after"})
    with hub.database.write() as session:
        row = session.scalars(select(Resthook)).one()
        webhook = add_own_webhook(session, hub.project_id, "resthook", "Resthook incoming.after", url, moment)
        session.add(Subscriber(resthook_id=row.id, webhook_id=webhook.id, target_url=url, created_on=moment))
    path = "/resthooks/incoming.after/subscribers"
    again = program.add(path, {"target_url": url, "filters": MISSED})
    assert [one["id"] for one in program.get(path)["items"]] == [again["id"]]
    missed = report("1.1", "incoming.after", values={"is_answered": False})
    assert publish(hub.context, {hub.pbx_id: [missed]}, moment).deliveries == 1


def test_nobody_forges_a_call_through_the_hook_of_a_stage(hub: Served) -> None:
    program = hub.client()
    program.add("/resthooks/incoming.after/subscribers", {"target_url": "https://hooks.example.com/1"})
    with pytest.raises(ProblemError) as refused:
        program.add("/resthooks/incoming.after/call", {"payload": {"event": "incoming.after"}})
    assert refused.value.status == 422
    assert types(hub) == []


def test_one_that_is_gone_hears_of_no_more_calls(hub: Served, receiver: MockServer, working: Working) -> None:
    receiver.respond("*", regex(".*"), text_response("gone", status=410))
    program = hub.client()
    program.add("/resthooks/incoming.before/subscribers", {"target_url": receiver.url})
    publish(hub.context, {hub.pbx_id: [report("1.1", "incoming.before")]}, datetime.now(UTC))
    await_until(lambda: program.get("/resthooks/incoming.before/subscribers")["items"] == [])
    published = publish(hub.context, {hub.pbx_id: [report("1.2", "incoming.before")]}, datetime.now(UTC))
    assert published.deliveries == 0


@pytest.mark.parametrize(
    ("hook_name", "filters", "field"),
    [
        ("new-lead", MISSED, "filters"),
        ("incoming.after", [{"parameter": "calller", "operator": "equals"}], "filters[0].parameter"),
        ("incoming.after", [{"parameter": "caller", "operator": "is"}], "filters[0].operator"),
        ("incoming.after", [{"operator": "any", "filters": []}], "filters[0].filters"),
    ],
)
def test_wrong_filters_of_a_subscription_are_refused(hub: Served, hook_name: str, filters: Any, field: str) -> None:
    program = hub.client()
    program.add("/resthooks", {"name": "new-lead"})
    wanted = {"target_url": "https://hooks.example.com/1", "filters": filters}
    with pytest.raises(ProblemError) as refused:
        program.add(f"/resthooks/{hook_name}/subscribers", wanted)
    assert refused.value.status == 422
    assert [path for path, _message in refused.value.errors] == [field]
