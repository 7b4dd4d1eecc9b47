"""A program does what a user does on the pages: order, sign, set Google Analytics up, simulate, check and remove."""

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from pbxhub.account.sample_calls import sample_names
from pbxhub.calls.stages import OPTIONAL_STAGES
from pbxhub.client import ProblemError
from pbxhub.sending.webhook_signatures import open_keys
from pbxhub.store.accounts import AuditEntry, Pbx
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.pbx.played_pbx import PlayedPbx
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.webhooks.catalogue import ENTRIES
from pbxhub.webhooks.gallery import default_event
from pbxhub.webhooks.params import exists_at
from tests.support.served import VAULT, Served
from tests.support.waiting import wait_until

STEERING = {"reads": "actions", "numbers": ["_1XX"]}


def add(hub: Served, name: str, stage: str = "incoming.after", **spec: object) -> int:
    body = {"name": name, "stage": stage, "spec": {"request": {"url": "https://crm.example.com/"}, **spec}}
    made: int = hub.client().add("/webhooks", body).id
    return made


def refused(hub: Served, path: str, body: dict[str, object], method: str = "PUT") -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        hub.client()._ask(method, path, json=body)
    return caught.value


def test_events_are_put_in_order(hub: Served) -> None:
    first, second, third = (add(hub, name) for name in ("a", "b", "c"))
    hub.client().put("/webhooks/order", {"ids": [third, first, 10**6]})
    shown = sorted(hub.client().all("/webhooks"), key=lambda item: item["position"])
    assert [item["id"] for item in shown] == [third, first, second]


def test_a_signing_key_is_made_rotated_and_removed(hub: Served) -> None:
    webhook = add(hub, "a")
    first = hub.client().add(f"/webhooks/{webhook}/signing", {})["key"]
    second = hub.client().add(f"/webhooks/{webhook}/signing", {})["key"]
    with hub.database.read() as session:
        keys = open_keys(VAULT, session.get_one(Webhook, webhook).signing_sealed)
    assert keys is not None
    assert (keys.current, keys.previous) == (second, first)
    assert second.startswith("whsec_")
    hub.client().remove(f"/webhooks/{webhook}/signing")
    with hub.database.read() as session:
        assert session.get_one(Webhook, webhook).signing_sealed == ""
        told = session.scalars(select(AuditEntry.action)).all()
    assert told.count("signing key made") == 2
    assert "signing key removed" in told


def test_the_locked_event_is_set_up_and_no_other(hub: Served) -> None:
    with hub.database.write() as session:
        ready = default_event().webhooks[0]
        row = Webhook(project_id=hub.project_id, name=ready.name, stage=ready.stage, enabled=False, locked=True,
                      spec=ready.spec, created_on=datetime.now(UTC))  # fmt: skip
        session.add(row)
        session.flush()
        locked = row.id
    given = {"measurement_id": "G-ABC1234567", "api_secret": "secret"}
    on = hub.client().put(f"/webhooks/{locked}/google-analytics", given)
    assert (on["enabled"], on["has_secret"]) == (True, True)
    assert "G-ABC1234567" in str(on["spec"])
    assert refused(hub, f"/webhooks/{locked}/google-analytics", {**given, "measurement_id": "UA-1"}).status == 422
    assert refused(hub, f"/webhooks/{add(hub, 'a')}/google-analytics", given).status == 404


def test_an_answer_is_tried_without_a_call(hub: Served) -> None:
    webhook = add(hub, "q", "call.question", steering=STEERING)
    path = f"/webhooks/{webhook}/simulate"
    good = hub.client().add(path, {"answer": '{"actions": [{"type": "dial", "number": "101"}]}'})
    assert (good["steps"], good["refused"]) == (["dial 101 for 30 s"], "")
    bad = hub.client().add(path, {"answer": '{"actions": [{"type": "dial", "number": "900"}]}'})
    assert bad["steps"] == []
    assert bad["refused"]
    assert refused(hub, f"/webhooks/{add(hub, 'a')}/simulate", {"answer": "1"}, "POST").status == 409


def test_the_own_system_is_asked_and_the_pbx_would_follow_its_answer(hub: Served) -> None:
    with Receiver(lambda asked: Reply(body=b'{"to": "%s"}' % (b"105" if asked.path == "/known" else b"900"))) as crm:
        steering = {"reads": "number", "key": "to", "numbers": ["_1XX"], "default": "101"}
        asked = {
            path: add(hub, path, "call.question", steering=steering, request={"url": f"{crm.url}/{path}"})
            for path in ("known", "unknown")
        }
        good, bad = (hub.client().add(f"/webhooks/{one}/test", {}) for one in asked.values())
    assert good["followed"] == {"steps": ["dial 105 for 30 s"], "refused": "", "default": "101"}
    assert bad["followed"]["steps"] == []
    assert "900 is not among the numbers" in bad["followed"]["refused"]
    assert bad["followed"]["default"] == "101"


def test_a_call_is_not_said_to_follow_a_webhook_that_it_does_not_ask(hub: Served) -> None:
    steering = {"reads": "number", "key": "to", "numbers": ["_1XX"], "default": "101"}
    nobody = [{"parameter": "caller", "operator": "equals", "value": "nobody"}]
    with Receiver(lambda asked: Reply(body=b'{"to": "105"}')) as crm:
        own = {"steering": steering, "request": {"url": crm.url}}
        names = ("filtered", "off", "paused")
        ids = [add(hub, one, "call.question", **own, filters=nobody if one == "filtered" else []) for one in names]
        with hub.database.write() as session:
            session.get_one(Webhook, ids[1]).enabled = False
            session.get_one(Webhook, ids[2]).paused_on = datetime.now(UTC)
        told = [hub.client().add(f"/webhooks/{one}/test", {})["followed"] for one in ids]
    assert [(one["steps"], one["default"]) for one in told] == [([], "")] * 3
    assert [one["refused"].rpartition("webhook: ")[2] for one in told] == [
        "its filters exclude the call.", "it is switched off.", "it is paused.",
    ]  # fmt: skip


def test_variables_are_shown_as_the_dialplan_gets_them(hub: Served) -> None:
    with Receiver(lambda asked: Reply(body=b'{"to": "105", "vip": true, "n": 7, "said": "a,b"}')) as crm:
        steering = {"reads": "number", "key": "to", "numbers": ["_1XX"], "default": "101"}
        answer = {"format": "json", "save": [{"name": one, "path": one} for one in ("vip", "n", "said")]}
        one = add(hub, "q", "call.question", steering=steering, request={"url": crm.url}, answer=answer)
        told = hub.client().add(f"/webhooks/{one}/test", {})["followed"]
    assert told["steps"] == ["set HUB_vip=true, HUB_n=7, HUB_said=a%2Cb", "dial 105 for 30 s"]


def test_nothing_of_the_database_is_held_while_a_system_is_asked(hub: Served) -> None:
    """An answer may take a minute; PostgreSQL ends a transaction that is idle for so long."""
    pool = hub.database.engine.pool

    def answer(_asked: object) -> Reply:
        wait_until(lambda: pool.checkedout() == 0, "no connection is in use")
        return Reply(body=b'{"to": "105"}')

    with Receiver(answer) as crm:
        steering = {"reads": "number", "key": "to", "numbers": ["_1XX"], "default": "101"}
        one = add(hub, "q", "call.question", steering=steering, request={"url": crm.url})
        assert hub.client().add(f"/webhooks/{one}/test", {})["followed"]["steps"] == ["dial 105 for 30 s"]


def test_a_pbx_is_checked_and_removed(hub: Served) -> None:
    with PlayedPbx() as played:
        pbx = hub.client().add(
            "/pbxs",
            {"name": "b", "host": "127.0.0.1", "port": played.port, "username": played.username, "secret": "no"},
        )
        findings = hub.client()._ask("POST", f"/pbxs/{pbx.id}/check").data
    assert [one["well"] for one in findings] == [False]
    assert "refused the login" in findings[0]["sentence"]
    hub.client().remove(f"/pbxs/{pbx.id}")
    assert refused(hub, f"/pbxs/{pbx.id}", {}, "GET").status == 404


@pytest.mark.slow
def test_nothing_is_deleted_that_somebody_has_changed_since(hub: Served) -> None:
    program = hub.client()
    hooks = {"name": "h", "stage": "incoming.before", "spec": {"request": {"url": "https://example.com/"}}}
    for path, body, change in (
        ("/employees", {"extension": "901", "name": "Anna"}, {"name": "Hanna"}),
        ("/numbers", {"did": "380441", "pbx_id": hub.pbx_id}, {"label": "Site"}),
        ("/pbxs", {"name": "b", "host": "192.0.2.1", "username": "u", "secret": "s"}, {"name": "c"}),
        ("/webhooks", hooks, {**hooks, "name": "other"}),
    ):
        made = program.add(path, body)
        one = f"{path}/{made.id}"
        changed = program.change(one, made, change, "PUT" if path == "/webhooks" else "PATCH")
        with pytest.raises(ProblemError, match="412: It has been changed meanwhile"):
            program.remove(one, made)
        assert program.get(one).etag == changed.etag
        program.remove(one, changed)
        with pytest.raises(ProblemError, match="404"):
            program.get(one)
    made = program.add("/employees", {"extension": "902", "name": "Ivan"})
    program.remove(f"/employees/{made.id}")


def test_a_pbx_that_is_heard_all_the_time_can_be_changed(hub: Served) -> None:
    """What the listener writes is no change that somebody could overwrite; but it is news for who asks again."""
    program = hub.client()
    seen = program.get(f"/pbxs/{hub.pbx_id}")
    with hub.database.write() as session:
        session.get_one(Pbx, hub.pbx_id).last_event_on = datetime.now(UTC)
    again = program.get(f"/pbxs/{hub.pbx_id}")
    assert again.etag != seen.etag
    assert program.change(f"/pbxs/{hub.pbx_id}", seen, {"name": "Office 2"})["name"] == "Office 2"
    with pytest.raises(ProblemError, match="412"):
        program.change(f"/pbxs/{hub.pbx_id}", again, {"name": "Office 3"})


@pytest.mark.slow
@pytest.mark.parametrize("stage", OPTIONAL_STAGES)
def test_a_webhook_of_an_optional_stage_is_added_and_previewed_with_every_sample(hub: Served, stage: str) -> None:
    names = [entry.name for entry in ENTRIES if exists_at(entry.name, stage)]
    parameters = [{"name": name, "value": f"<<{name}>>"} for name in names]
    spec = {"request": {"url": "https://crm.example.com/", "parameters": parameters}}
    hub.client().add("/webhooks", {"name": "w", "stage": stage, "spec": spec})
    for sample in sample_names():
        shown = hub.client().add("/webhooks/preview", {"stage": stage, "sample": sample, "spec": spec})
        sent = json.loads(shown["body"])
        assert sent["stage"] == stage
        if stage.startswith("internal."):
            assert (sent["direction"], sent["call_type"], sent["caller"]) == ("internal", "internal", "102")
