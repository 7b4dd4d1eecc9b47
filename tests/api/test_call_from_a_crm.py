"""Somebody clicks on a number in a CRM: the CRM calls the project's own address, and the phone rings."""

import json
import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from pbxhub.delivery.outbox import publish
from pbxhub.store.accounts import AuditEntry, Employee, Project
from pbxhub.store.dial_addresses import DialAddress
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.web.pages.dial import GUESSES
from pbxhub.wsgi.current import now
from tests.support.outbox_world import report
from tests.support.served import Served
from tests.support.signing_in import member, token_of

NUMBER = "+380441234567"


@pytest.fixture
def owner(hub: Served) -> FlaskClient:
    with hub.database.write() as session:
        session.add(Employee(project_id=hub.project_id, extension="101", crm_id="12", email="ivan@example.com"))
    return member(hub, "owner")


@pytest.fixture
def key(hub: Served, owner: FlaskClient) -> str:
    return renewed(hub, owner)


@pytest.fixture
def crm(hub: Served) -> FlaskClient:
    client: FlaskClient = hub.app.test_client()
    return client


def page_of(hub: Served) -> str:
    return f"/projects/{hub.project_id}/crm-calls"


def renewed(hub: Served, owner: FlaskClient) -> str:
    owner.post(f"{page_of(hub)}/renew", data={"csrf_token": token_of(owner, page_of(hub))})
    found = re.search(r'id="address"[^>]*>([^<]+)<', owner.get(page_of(hub)).text)
    assert found
    return parse_qs(urlsplit(unescape(found[1])).query)["key"][0]


def settings(hub: Served, owner: FlaskClient, **form: str) -> Any:
    given = {"token": "", "callback_extension": "", **form, "csrf_token": token_of(owner, page_of(hub))}
    return owner.post(page_of(hub), data=given)


def ordered(hub: Served) -> list[OrderedCall]:
    with hub.database.read() as session:
        return list(session.scalars(select(OrderedCall).order_by(OrderedCall.id)))


def bitrix(crm: FlaskClient, key: str, event: str = "ONEXTERNALCALLSTART", token: str = "", **data: str) -> Any:
    given = {"PHONE_NUMBER": NUMBER, "USER_ID": "12", "CALL_ID": "externalCall.1", **data}
    form = {"event": event, "ts": "1778754610", **{f"data[{name}]": value for name, value in given.items()}}
    return crm.post(
        f"/dial?key={key}", data={**form, "auth[domain]": "x.bitrix24.com", "auth[application_token]": token}
    )


def test_a_click_in_bitrix24_rings_the_phone_of_its_user(hub: Served, key: str, crm: FlaskClient) -> None:
    answer = bitrix(crm, key, CRM_ENTITY_TYPE="DEAL", CRM_ENTITY_ID="7")
    assert answer.status_code == 200
    (call,) = ordered(hub)
    assert answer.get_json() == {"result": {"id": str(call.id), "status": "registered"}}
    assert (call.mobile_number, call.agent_id) == (NUMBER, "101")
    assert call.custom == {"crm": "bitrix24", "CALL_ID": "externalCall.1", "BITRIX_CALL_ID": "externalCall.1",
                           "USER_ID": "12", "CRM_ENTITY_TYPE": "DEAL", "CRM_ENTITY_ID": "7"}  # fmt: skip
    with hub.database.read() as session:
        logged = session.scalars(select(AuditEntry).where(AuditEntry.action == "call ordered")).one()
    assert logged.who == "CRM, by the address for calls"


def test_the_application_token_is_asked_for_once_it_is_known(
    hub: Served, key: str, crm: FlaskClient, owner: FlaskClient
) -> None:
    settings(hub, owner, token="t0ken")
    for wrong in ("", "other"):
        refused = bitrix(crm, key, token=wrong)
        assert (refused.status_code, refused.get_json()["error"]) == (403, "auth[application_token]")
    assert "t0ken" not in owner.get(page_of(hub)).text
    settings(hub, owner)
    assert bitrix(crm, key, token="t0ken").status_code == 200, "an empty field keeps it"
    settings(hub, owner, token="-")
    assert bitrix(crm, key, PHONE_NUMBER="+380441234568").status_code == 200
    assert len(ordered(hub)) == 2


def test_a_user_of_bitrix24_without_a_card_is_named(hub: Served, key: str, crm: FlaskClient) -> None:
    for nobody in ("99", "", "101"):
        refused = bitrix(crm, key, USER_ID=nobody)
        assert (refused.status_code, refused.get_json()["error"]) == (422, "data[USER_ID]")
        assert "card of the employee" in refused.get_json()["error_description"]
    assert ordered(hub) == []


def test_a_callback_form_rings_who_talked_last_or_the_extension_for_callbacks(
    hub: Served, key: str, crm: FlaskClient, owner: FlaskClient
) -> None:
    event = "ONEXTERNALCALLBACKSTART"
    assert "nobody is named" in bitrix(crm, key, event, USER_ID="").get_json()["error_description"]
    settings(hub, owner, callback_extension="200")
    assert bitrix(crm, key, event, USER_ID="").status_code == 200
    talked = report(
        "1.1", "incoming.after", started_on=now(), answered_on=now(), extension="101", caller="+380671112233"
    )
    publish(hub.context, {hub.pbx_id: [talked]}, now())
    assert bitrix(crm, key, event, USER_ID="", PHONE_NUMBER="+380671112233").status_code == 200
    assert [one.agent_id for one in ordered(hub)] == ["200", "101"]


def test_another_event_of_bitrix24_orders_nothing(hub: Served, key: str, crm: FlaskClient) -> None:
    answer = bitrix(crm, key, "ONCRMLEADADD")
    assert (answer.status_code, answer.get_json()) == (200, {"result": {}})
    assert ordered(hub) == []


def amo(crm: FlaskClient, secret: str, **query: str) -> Any:
    answer = crm.get("/dial", query_string={"_login": "amo", "_secret": secret, "_action": "call", **query})
    assert (answer.status_code, answer.mimetype) == (200, "text/javascript")
    return json.loads(answer.text.removeprefix("asterisk_cb(").removesuffix(");"))


def test_a_click_in_amocrm_is_answered_as_a_script(hub: Served, key: str, crm: FlaskClient) -> None:
    done = amo(crm, key, **{"from": "101", "to": "+38 (044) 123-45-67", "as": "Anna"})
    (call,) = ordered(hub)
    assert done == {"status": "ok", "action": "call", "data": {"id": str(call.id), "status": "registered"}}
    assert (call.mobile_number, call.agent_id, call.name) == (NUMBER, "101", "Anna")
    assert amo(crm, key, _action="status") == {"status": "ok", "action": "status", "data": []}
    refused = amo(crm, key, **{"from": "101", "to": "nobody"})
    assert refused["status"] == "error"
    assert "phone number" in refused["data"]
    assert amo(crm, "wrong", to="1")["status"] == "error"


@pytest.mark.parametrize("who", ["101", "12", "ivan@example.com", "300"])
def test_a_link_with_to_and_from_is_enough(hub: Served, key: str, crm: FlaskClient, who: str) -> None:
    answer = crm.get("/dial", query_string={"key": key, "to": NUMBER, "from": who, "deal": "7"})
    (call,) = ordered(hub)
    assert (answer.status_code, answer.get_json()) == (200, {"id": str(call.id), "status": "registered"})
    assert (call.agent_id, call.custom) == ("300" if who == "300" else "101", {"crm": "plain", "deal": "7"})


def test_json_and_forms_are_read_alike(hub: Served, key: str, crm: FlaskClient) -> None:
    crm.post("/dial", json={"key": key, "to": NUMBER, "from": 101, "name": "Anna"})
    crm.post(f"/dial?key={key}", data={"to": "+380441234568", "from": "101"})
    assert [(one.mobile_number, one.agent_id) for one in ordered(hub)] == [(NUMBER, "101"), ("+380441234568", "101")]


def test_a_double_click_is_one_call(hub: Served, key: str, crm: FlaskClient) -> None:
    first, second = bitrix(crm, key), bitrix(crm, key)
    assert first.get_json() == second.get_json()
    assert len(ordered(hub)) == 1


def test_a_double_click_may_write_the_number_in_another_way(hub: Served, key: str, crm: FlaskClient) -> None:
    with hub.database.write() as session:
        session.get_one(Project, hub.project_id).country = "UA"
    for number in (NUMBER, NUMBER[1:], f"00{NUMBER[1:]}", NUMBER.removeprefix("+38")):
        assert bitrix(crm, key, PHONE_NUMBER=number).status_code == 200
    assert len(ordered(hub)) == 1


@pytest.mark.slow
def test_a_click_after_a_cancelled_call_is_another_call(hub: Served, key: str, crm: FlaskClient) -> None:
    bitrix(crm, key)
    (first,) = ordered(hub)
    hub.client().cancel(str(first.id))
    assert bitrix(crm, key).get_json()["result"]["status"] == "registered"
    assert len(ordered(hub)) == 2


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "101"}, "to"),
        ({"to": "112;rm", "from": "101"}, "to"),
        ({"to": "+19005551234", "from": "101"}, "to"),
        ({"to": NUMBER}, "from"),
        ({"to": NUMBER, "from": "101&102"}, "from"),
        ({"to": NUMBER, "from": "101", "from_number": "x"}, "from_number"),
        ({"to": NUMBER, "from": "101", "n" * 101: "x"}, "n" * 100),
        ({"to": NUMBER, "from": "101", **{f"field{n}": "x" for n in range(51)}}, "refused"),
    ],
)
def test_what_cannot_be_called_is_refused_at_its_field(
    hub: Served, key: str, crm: FlaskClient, query: dict[str, str], field: str
) -> None:
    refused = crm.get("/dial", query_string={"key": key, **query})
    assert (refused.status_code, refused.get_json()["error"]) == (422, field)
    assert ordered(hub) == []


def test_a_wrong_or_former_key_orders_nothing(hub: Served, key: str, crm: FlaskClient, owner: FlaskClient) -> None:
    newer = renewed(hub, owner)
    project, _, rest = newer.partition("-")
    for wrong in ("", "x", key, f"{hub.other_id}-{rest}", f"{project}-", "9" * 30 + "-x", f"{newer}x"):
        refused = crm.get("/dial", query_string={"key": wrong, "to": NUMBER, "from": "101"})
        assert refused.status_code == 403, wrong
    assert crm.get("/dial", query_string={"key": newer, "to": NUMBER, "from": "101"}).status_code == 200
    owner.post(f"{page_of(hub)}/delete", data={"csrf_token": token_of(owner, page_of(hub))})
    assert crm.get("/dial", query_string={"key": newer, "to": NUMBER, "from": "101"}).status_code == 403
    assert renewed(hub, owner) not in (key, newer)


def test_the_key_of_a_deleted_project_is_not_that_of_the_next_one(
    hub: Served, key: str, crm: FlaskClient, owner: FlaskClient
) -> None:
    with hub.database.write() as session:  # SQLite gives the id of a deleted project again
        session.delete(session.get_one(DialAddress, hub.project_id))
    newer = renewed(hub, owner)
    assert newer != key
    assert crm.get("/dial", query_string={"key": key, "to": NUMBER, "from": "101"}).status_code == 403


def test_whoever_only_looks_at_a_link_rings_no_phone(hub: Served, key: str, crm: FlaskClient) -> None:
    assert crm.head("/dial", query_string={"key": key, "to": NUMBER, "from": "101"}).status_code == 405
    assert ordered(hub) == []


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [(b"{", 400, "refused"), (b"[]", 400, "refused"), (b'{"to": "\\u0000"}', 422, "to"), (b"\xff", 400, "refused")],
)
def test_a_body_that_cannot_be_read_is_refused_in_json(
    key: str, crm: FlaskClient, body: bytes, status: int, field: str
) -> None:
    refused = crm.post(f"/dial?key={key}", data=body, content_type="application/json")
    assert (refused.status_code, refused.get_json()["error"]) == (status, field)
    script = crm.post(f"/dial?_secret={key}&_action=call", data=body, content_type="application/json")
    assert script.text.startswith('asterisk_cb({"status": "error"')


def test_a_form_that_is_too_large_is_refused_in_json(key: str, crm: FlaskClient) -> None:
    refused = crm.post(f"/dial?key={key}", data={"to": "1" * 5_000_000})
    assert (refused.status_code, refused.get_json()["error"]) == (413, "refused")


def test_a_stranger_does_not_wait_for_who_writes(hub: Served, key: str, crm: FlaskClient) -> None:
    with hub.database.write():  # of which SQLite has one at a time
        assert crm.get("/dial", query_string={"key": f"{key}x"}).status_code == 403


@pytest.mark.parametrize("wrong", [{"key": "1-x"}, {}])
def test_keys_cannot_be_guessed_by_trying(hub: Served, key: str, crm: FlaskClient, wrong: dict[str, str]) -> None:
    limiter = hub.app.extensions["pbxhub.dial_guesses"]
    limiter.clear(GUESSES, "127.0.0.1")  # what other tests have tried
    for _ in range(59):
        limiter.hit(GUESSES, "127.0.0.1")
    codes = [crm.get("/dial", query_string=wrong).status_code for _ in range(2)]
    right = crm.get("/dial", query_string={"key": key, "to": NUMBER, "from": "101"}).status_code
    limiter.clear(GUESSES, "127.0.0.1")  # tests share the application: the next one may try a wrong key, too
    assert (codes, right) == ([403, 429], 200)


def test_the_dial_plan_limits_calls_from_a_crm_too(hub: Served, key: str, crm: FlaskClient) -> None:
    program = hub.client()
    path = f"/pbxs/{hub.pbx_id}/dial-plan"
    program.change(path, program.get(path), {"at_once": 1})
    codes = [crm.get("/dial", query_string={"key": key, "to": f"{NUMBER}{n}", "from": "101"}).status_code for n in "12"]
    assert codes == [200, 429]


def test_a_wrong_extension_for_callbacks_is_refused(hub: Served, owner: FlaskClient) -> None:
    renewed(hub, owner)
    answer = settings(hub, owner, callback_extension="1 0")
    assert answer.status_code == 422
    assert "not an extension" in answer.text
