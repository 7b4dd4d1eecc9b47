"""The same thing is done through a page and through the API: one rule, one sentence, one line in the audit log."""

import html
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from pbxhub.store.accounts import AuditEntry, Employee, Number
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.ids import new_id
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.gallery import default_event
from pbxhub.wsgi.current import now
from tests.support.served import Served
from tests.support.signing_in import member, program, token_of

# on one kind of database: other tests of the same pages show that these queries go on both
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

LONG = "x" * 201
TYPE_AGAIN = "Enter it again: a page never keeps what is secret."  # a script still has what it sent


@pytest.fixture
def owner(hub: Served) -> FlaskClient:
    return member(hub, "owner")


@pytest.fixture
def script(hub: Served) -> FlaskClient:
    return program(hub, "admin")


def page_says(owner: FlaskClient, path: str, form: dict[str, Any]) -> list[str]:
    token = token_of(owner, re.sub("(alerts|working-time|recording-links)$", "settings", path))
    text = owner.post(path, data={**form, "csrf_token": token}).text
    said = [html.unescape(found) for found in re.findall(r'class="field-error">([^<]+)<', text)]
    return [sentence for sentence in said if sentence != TYPE_AGAIN]


def api_says(script: FlaskClient, method: str, path: str, body: dict[str, Any]) -> tuple[int, list[str]]:
    headers = {}
    if method == "patch":
        headers["If-Match"] = script.get(path).headers["ETag"]
    answer = getattr(script, method)(path, json=body, headers=headers)
    return answer.status_code, [error["message"] for error in (answer.get_json() or {}).get("errors", [])]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"extension": "101", "email": "nonsense"}, "email"),
        ({"extension": ""}, "extension"),
        ({"extension": "  "}, "extension"),
        ({"extension": "1\n2"}, "extension"),
        ({"extension": "101", "name": LONG}, "name"),
        ({"extension": "1" * 81, "department": LONG}, "extension"),
        ({"extension": "101", "endpoints": ["anna two"]}, "endpoints"),
        ({"extension": "101", "endpoints": ["PJSIP/anna/2"]}, "endpoints"),
        ({"extension": "101", "endpoints": [f"phone-{number}" for number in range(21)]}, "endpoints"),
    ],
)
def test_an_employee_is_refused_in_the_same_words(
    hub: Served, owner: FlaskClient, script: FlaskClient, given: dict[str, Any], path: str
) -> None:
    typed = {**given, "endpoints": ", ".join(given.get("endpoints", ()))}
    said = page_says(owner, f"/projects/{hub.project_id}/employees/new", typed)
    status, messages = api_says(script, "post", "/api/v1/employees", given)
    assert status == 422
    assert messages == said != []
    with hub.database.read() as session:
        assert session.scalars(select(Employee)).all() == []


@pytest.mark.parametrize("given", [{"did": ""}, {"did": "1\t2"}, {"did": "1" * 81}, {"did": "1", "label": LONG}])
def test_a_number_is_refused_in_the_same_words(
    hub: Served, owner: FlaskClient, script: FlaskClient, given: dict[str, str]
) -> None:
    wanted = {**given, "pbx_id": hub.pbx_id}
    said = page_says(owner, f"/projects/{hub.project_id}/numbers/new", wanted)
    status, messages = api_says(script, "post", "/api/v1/numbers", wanted)
    assert status == 422
    assert messages == said != []


@pytest.mark.parametrize(
    "given", [{"country": "x"}, {"country": "ZZ"}, {"time_zone": "EST"}, {"time_zone": "Mars/Base"}, {"name": " "}]
)
def test_settings_of_a_project_are_refused_in_the_same_words(
    hub: Served, owner: FlaskClient, script: FlaskClient, given: dict[str, str]
) -> None:
    whole = {"name": "Ours", "time_zone": "UTC", "country": "UA", **given}
    said = page_says(owner, f"/projects/{hub.project_id}/settings", whole)
    status, messages = api_says(script, "patch", f"/api/v1/projects/{hub.project_id}", given)
    assert status == 422
    assert messages == said != []


@pytest.mark.parametrize(
    "given",
    [
        {"working_hours": ["mon-fri"]}, {"working_hours": ["mo-fr 09:00-18:00"]},
        {"working_hours": ["mon 09:00-25:00"]},
        {"working_hours": ["sat 10:00-14:00", "mon 9-18"]}, {"working_hours": ["mon 09:00-18:00"] * 51},
        {"holidays": ["12/25"]}, {"holidays": ["2026-02-29"]}, {"holidays": ["13-01"]}, {"holidays": ["12-25 " + LONG]},
        {"working_hours": ["x"], "holidays": ["y"]},
    ],
)  # fmt: skip
def test_working_hours_are_refused_in_the_same_words(
    hub: Served, owner: FlaskClient, script: FlaskClient, given: dict[str, list[str]]
) -> None:
    form = {name: "\r\n".join(lines) for name, lines in given.items()}
    said = page_says(owner, f"/projects/{hub.project_id}/working-time", form)
    status, messages = api_says(script, "patch", f"/api/v1/projects/{hub.project_id}", given)
    assert status == 422
    assert messages == said != []


@pytest.mark.parametrize("days", [-1, 3651])
def test_the_lifetime_of_links_is_refused_in_the_same_words(
    hub: Served, owner: FlaskClient, script: FlaskClient, days: int
) -> None:
    given = {"recording_link_days": days}
    said = page_says(owner, f"/projects/{hub.project_id}/recording-links", given)
    status, messages = api_says(script, "patch", f"/api/v1/projects/{hub.project_id}", given)
    assert status == 422
    assert messages == said != []


def test_a_program_sets_the_lifetime_and_revokes_the_links(hub: Served, script: FlaskClient) -> None:
    path = f"/api/v1/projects/{hub.project_id}"
    tag = script.get(path).headers["ETag"]
    assert script.patch(path, json={"recording_link_days": 30}, headers={"If-Match": tag}).status_code == 200
    assert script.get(path).get_json()["recording_link_days"] == 30
    assert script.post(f"{path}/recording-links/revoke").status_code == 204
    assert script.post("/api/v1/projects/999/recording-links/revoke").status_code == 404
    tag = script.get(path).headers["ETag"]
    script.patch(path, json={"recording_link_days": 0}, headers={"If-Match": tag})


def test_working_hours_are_set_on_the_page_and_read_by_the_api(
    hub: Served, owner: FlaskClient, script: FlaskClient
) -> None:
    settings = f"/projects/{hub.project_id}/settings"
    form = {"working_hours": "Mon-Fri 09:00-18:00\r\n\r\n sat 10:00-14:00", "holidays": "12-24 Inventory"}
    token = token_of(owner, settings)
    answer = owner.post(f"/projects/{hub.project_id}/working-time", data={**form, "csrf_token": token})
    assert answer.status_code == 302
    found = script.get(f"/api/v1/projects/{hub.project_id}").get_json()
    assert found["working_hours"] == ["Mon-Fri 09:00-18:00", "sat 10:00-14:00"]
    assert found["holidays"] == ["12-24 Inventory"]
    assert "sat 10:00-14:00" in owner.get(settings).text
    tag = script.get(f"/api/v1/projects/{hub.project_id}").headers["ETag"]
    script.patch(f"/api/v1/projects/{hub.project_id}", json={"holidays": []}, headers={"If-Match": tag})
    assert "12-24 Inventory" not in owner.get(settings).text
    assert "sat 10:00-14:00" in owner.get(settings).text


def test_a_filter_by_working_hours_says_while_there_are_none(hub: Served, script: FlaskClient) -> None:
    path = f"/api/v1/projects/{hub.project_id}"
    outside = {"parameter": "calldate", "operator": "not_working_time"}
    asked = {
        "stage": "incoming.after",
        "spec": {
            "request": {"url": "https://crm.example.com/"},
            "filters": [{"operator": "any", "filters": [outside, {**outside, "parameter": "end_time"}]}],
        },
    }
    before = script.post("/api/v1/webhooks/preview", json=asked).get_json()
    assert [note["path"] for note in before["notes"] if "working hours" in note["message"]] == [
        "filters[0].filters[0]", "filters[0].filters[1]",
    ]  # fmt: skip
    assert before["would_match"] is False
    tag = script.get(path).headers["ETag"]
    night = {"working_hours": ["mon-sun 03:00-03:01"]}
    assert script.patch(path, json=night, headers={"If-Match": tag}).status_code == 200
    after = script.post("/api/v1/webhooks/preview", json=asked).get_json()
    assert not any("working hours" in note["message"] for note in after["notes"])
    assert after["would_match"] is True


PLAN = {
    "allowed": ["_X."], "channel": "PJSIP/{extension}", "context": "from-internal", "ring_seconds": 30, "at_once": 10,
    "per_minute": 60,
}  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        {"allowed": ["38044*"]}, {"allowed": ["*", "101", "_[9-1]", "_"]}, {"allowed": ["101"] * 201},
        {"channel": "PJSIP/101"}, {"channel": ""}, {"context": "a,b"}, {"context": "x" * 81}, {"at_once": 0},
        {"ring_seconds": 4, "per_minute": 10_001},
    ],
)  # fmt: skip
def test_a_dial_plan_is_refused_in_the_same_words(
    hub: Served, owner: FlaskClient, script: FlaskClient, given: dict[str, Any]
) -> None:
    form = {**PLAN, **given}
    page = f"/projects/{hub.project_id}/pbxs/{hub.pbx_id}/dial-plan"
    said = page_says(owner, page, {**form, "allowed": "\n".join(form["allowed"])})
    path = f"/api/v1/pbxs/{hub.pbx_id}/dial-plan"
    before = script.get(path).get_json()
    status, messages = api_says(script, "patch", path, given)
    assert status == 422
    assert sorted(messages) == sorted(said) != []
    assert script.get(path).get_json() == before


def test_a_rule_for_numbers_is_refused_in_the_same_words_in_a_dial_plan_and_in_a_webhook(
    hub: Served, script: FlaskClient
) -> None:
    rules = ["38044*", "101", "_[9-1]X"]
    _, plan = api_says(script, "patch", f"/api/v1/pbxs/{hub.pbx_id}/dial-plan", {"allowed": rules})
    spec = {"request": {"url": "https://crm.example.com/"}, "steering": {"numbers": rules}}
    _, webhook = api_says(script, "post", "/api/v1/webhooks", {"name": "w", "stage": "call.question", "spec": spec})
    assert plan == [message for message in webhook if message in plan]
    assert plan[0].endswith("Write _38044. for every number that begins with 38044.")


@pytest.mark.parametrize(
    "given",
    [
        {"name": LONG},
        {"name": " "},
        {"host": "http://pbx"},
        {"host": "10.9.8.7"},
        {"port": 65536},
        {"username": "hub]"},
        {"incoming_contexts": ["a b"]},
        {"tls_ca": "nonsense"},
    ],
)
def test_a_pbx_is_refused_in_the_same_words(
    hub: Served, owner: FlaskClient, script: FlaskClient, given: dict[str, Any]
) -> None:
    whole = {"name": "b", "host": "192.0.2.1", "port": 5038, "username": "u", "secret": "s",
             "incoming_contexts": ["from-trunk"], **given}  # fmt: skip
    form = {**whole, "contexts": ", ".join(whole["incoming_contexts"])}
    said = page_says(owner, f"/projects/{hub.project_id}/pbxs/new", form)
    status, messages = api_says(script, "post", "/api/v1/pbxs", whole)
    assert status == 422
    assert messages == said != []


def test_what_is_there_already_is_told_in_the_same_words(hub: Served, owner: FlaskClient, script: FlaskClient) -> None:
    for page, path, card in (
        ("employees", "/api/v1/employees", {"extension": "101"}),
        ("numbers", "/api/v1/numbers", {"did": "380", "pbx_id": hub.pbx_id}),
    ):  # fmt: skip
        assert script.post(path, json=card).status_code == 201
        said = page_says(owner, f"/projects/{hub.project_id}/{page}/new", card)
        assert api_says(script, "post", path, card) == (409, said)


def test_an_endpoint_is_kept_without_its_technology_and_on_one_card_only(
    hub: Served, owner: FlaskClient, script: FlaskClient
) -> None:
    path = f"/projects/{hub.project_id}/employees/new"
    typed = {"extension": "101", "endpoints": "PJSIP/anna2, SIP/anna-desk , anna2"}
    owner.post(path, data={**typed, "csrf_token": token_of(owner, path)})
    [card] = script.get("/api/v1/employees").get_json()["items"]
    assert card["endpoints"] == ["anna2", "anna-desk"]
    other = {"extension": "102", "endpoints": ["PJSIP/anna2", "Anna2"]}
    said = page_says(owner, path, {**other, "endpoints": "PJSIP/anna2, Anna2"})
    assert api_says(script, "post", "/api/v1/employees", other) == (409, said)
    assert said == ["The endpoint anna2 is on the card of 101. Remove it from that card first."]
    own = f"/api/v1/employees/{card['id']}"
    assert api_says(script, "patch", own, {"endpoints": ["anna2", "anna3"]}) == (200, [])
    assert api_says(script, "patch", own, {"endpoints": []}) == (200, [])
    assert script.post("/api/v1/employees", json=other).status_code == 201
    assert _lines(hub)[0][2]["endpoints"] == [None, "anna2, anna-desk"]
    assert _lines(hub)[1][2] == {"endpoints": ["anna2, anna-desk", "anna2, anna3"]}


def test_white_space_is_dropped_and_a_country_is_in_capitals_at_both_doors(
    hub: Served, owner: FlaskClient, script: FlaskClient
) -> None:
    assert script.post("/api/v1/employees", json={"extension": " 101 "}).get_json()["extension"] == "101"
    path = f"/projects/{hub.project_id}/employees/new"
    owner.post(path, data={"extension": " 102 ", "csrf_token": token_of(owner, path)})
    with hub.database.read() as session:
        assert set(session.scalars(select(Employee.extension))) == {"101", "102"}
    path = f"/api/v1/projects/{hub.project_id}"
    answer = script.patch(path, json={"country": "pl"}, headers={"If-Match": script.get(path).headers["ETag"]})
    assert answer.get_json()["country"] == "PL"


def _lines(hub: Served) -> list[tuple[str, str, Any]]:
    with hub.database.read() as session:
        rows = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
        assert all(row.address for row in rows)
        return [(row.action, row.subject, row.changes) for row in rows]


def test_the_same_act_leaves_the_same_line_in_the_audit_log(
    hub: Served, owner: FlaskClient, script: FlaskClient
) -> None:
    root = f"/projects/{hub.project_id}"

    def by_page(path: str, form: dict[str, Any], of: str) -> None:
        answer = owner.post(root + path, data={**form, "csrf_token": token_of(owner, root + of)})
        assert answer.status_code == 302, answer.text

    def ids(kind: Any) -> int:
        with hub.database.read() as session:
            return int(session.scalars(select(kind.id)).one())

    number, card = {"did": "380", "label": "Kyiv", "pbx_id": hub.pbx_id}, {"extension": "101", "name": "Ann"}
    by_page("/numbers/new", number, "/numbers/new")
    by_page(f"/numbers/{ids(Number)}/delete", {}, "/numbers/new")
    by_page("/employees/new", card, "/employees/new")
    by_page(f"/employees/{ids(Employee)}/delete", {}, "/numbers/new")
    plan = f"/pbxs/{hub.pbx_id}/dial-plan"
    by_page(plan, {**PLAN, "allowed": "_X.\r\n_38044. 112"}, plan)
    by_page(plan, {**PLAN, "allowed": "_X., _+X."}, plan)
    by_page("/settings", {"name": "Other", "time_zone": "Europe/Kyiv", "country": "UA"}, "/settings")
    by_page("/settings", {"name": "Ours", "time_zone": "UTC", "country": "UA"}, "/settings")
    paged = _lines(hub)
    made = script.post("/api/v1/numbers", json=number).get_json()["id"]
    script.delete(f"/api/v1/numbers/{made}")
    script.post("/api/v1/employees", json={**card, "email": "", "department": "", "crm_id": ""})
    script.delete(f"/api/v1/employees/{ids(Employee)}")
    for allowed in (["_X.", "_38044.", "112"], ["_X.", "_+X."]):
        tag = script.get(f"/api/v1{plan}").headers["ETag"]
        script.patch(f"/api/v1{plan}", json={"allowed": allowed}, headers={"If-Match": tag})
    for name, zone in (("Other", "Europe/Kyiv"), ("Ours", "UTC")):
        path = f"/api/v1/projects/{hub.project_id}"
        tag = script.get(path).headers["ETag"]
        script.patch(path, json={"name": name, "time_zone": zone}, headers={"If-Match": tag})
    assert len(paged) == 8
    assert _lines(hub)[8:] == paged


@pytest.mark.parametrize("address", ["", "nonsense", "http://10.0.0.1/", "a@b c.example", "x" * 2001])
def test_an_alert_goes_nowhere_but_to_an_address(hub: Served, owner: FlaskClient, address: str) -> None:
    assert page_says(owner, f"/projects/{hub.project_id}/alerts", {"address": address})


def _webhook(script: FlaskClient, name: str, token: str = "one") -> Any:
    wanted = {
        "name": name,
        "stage": "incoming.before",
        "spec": {"request": {"url": f"https://crm.example.com/?token={token}"}},
    }
    answer = script.post("/api/v1/webhooks", json=wanted)
    assert answer.status_code == 201, answer.text
    return answer.get_json()


def _save_in_editor(owner: FlaskClient, hub: Served, webhook: Any) -> Any:
    root = f"/projects/{hub.project_id}/webhooks"
    headers = {"X-CSRFToken": token_of(owner, root)}
    return owner.post(f"{root}/{webhook['id']}/save", json=webhook, headers=headers)


def _save_by_api(script: FlaskClient, webhook: Any) -> Any:
    path = f"/api/v1/webhooks/{webhook['id']}"
    wanted = {name: webhook[name] for name in ("name", "stage", "enabled", "spec")}
    return script.put(path, json=wanted, headers={"If-Match": script.get(path).headers["ETag"]})


def test_what_waits_is_cancelled_by_whichever_door_a_webhook_is_switched_off(
    hub: Served, owner: FlaskClient, script: FlaskClient
) -> None:
    paged, called = _webhook(script, "by page"), _webhook(script, "by API")
    with hub.database.write() as session:
        for webhook in (paged, called):
            session.add(Delivery(
                id=new_id(), project_id=hub.project_id, webhook_id=webhook["id"], webhook_revision=1, state="pending",
                lane=1, due_at=now(), method="POST", url="https://a.example/", headers=[], body=b"", created_on=now(),
            ))  # fmt: skip
    assert _save_in_editor(owner, hub, {**paged, "enabled": False}).status_code == 200
    assert _save_by_api(script, {**called, "enabled": False}).status_code == 200
    with hub.database.read() as session:
        assert set(session.scalars(select(Delivery.state))) == {"cancelled"}


def test_a_webhook_is_changed_with_the_same_line_and_its_secrets_are_not_in_the_log(
    hub: Served, owner: FlaskClient, script: FlaskClient
) -> None:
    webhooks = [_webhook(script, name, "hush") for name in ("one", "two")]
    for webhook in webhooks:
        webhook["spec"]["request"]["url"] = "https://crm.example.com/?token=mum"
    assert _save_in_editor(owner, hub, webhooks[0]).status_code == 200
    assert _save_by_api(script, webhooks[1]).status_code == 200
    lines = _lines(hub)
    changed = [changes for action, _subject, changes in lines if action == "webhook changed"]
    assert changed[0] == changed[1]
    assert changed[0]["request.url"] == [
        "https://crm.example.com/?token=•••",
        "https://crm.example.com/?token=••• (another secret)",
    ]
    assert "hush" not in str(lines)
    assert "mum" not in str(lines)


def test_a_webhook_of_a_wrong_name_is_refused_in_the_same_words(
    hub: Served, owner: FlaskClient, script: FlaskClient
) -> None:
    webhook = _webhook(script, "CRM")
    for name in ("", " ", "x" * 201):
        paged = _save_in_editor(owner, hub, {**webhook, "name": name})
        called = _save_by_api(script, {**webhook, "name": name})
        assert (paged.status_code, called.status_code) == (422, 422)
        assert paged.get_json()["errors"][0]["message"] == called.get_json()["errors"][0]["message"]
    file = {"format": "pbxhub-webhooks", "version": 1, "webhooks": [
        {"name": " CRM ", "stage": "incoming.before", "spec": webhook["spec"]}]}  # fmt: skip
    answer = script.post("/api/v1/webhooks/import", json=file).get_json()
    assert [change["change"] for change in answer["webhooks"]] == ["same"]


def test_a_pause_says_who_paused_at_both_doors(hub: Served, owner: FlaskClient, script: FlaskClient) -> None:
    paged, called = _webhook(script, "by page"), _webhook(script, "by API")
    root = f"/projects/{hub.project_id}/webhooks"
    owner.post(f"{root}/{paged['id']}/pause", data={"csrf_token": token_of(owner, root)})
    answer = script.post(f"/api/v1/webhooks/{called['id']}/pause")
    assert answer.status_code == 200, answer.text
    found = {item["name"]: item["paused_reason"] for item in script.get("/api/v1/webhooks").get_json()["items"]}
    assert found == {"by page": "paused by owner", "by API": "paused by test"}
    assert answer.get_json()["paused_reason"] == "paused by test"
    answer = script.post(f"/api/v1/webhooks/{called['id']}/resume").get_json()
    assert (answer["paused_on"], answer["paused_reason"]) == (None, "")


def test_a_question_that_a_dialplan_could_not_ask_is_refused_at_every_door(
    hub: Served, owner: FlaskClient, script: FlaskClient
) -> None:
    spec = {"request": {"url": "https://crm.example.com/"}, "steering": {}}
    webhook = {"name": "where, to", "stage": "call.question", "enabled": True, "spec": spec}
    root = f"/projects/{hub.project_id}/webhooks"
    paged = owner.post(f"{root}/save", json=webhook, headers={"X-CSRFToken": token_of(owner, root)}).get_json()
    _status, called = api_says(script, "post", "/api/v1/webhooks", webhook)
    file = {"format": "pbxhub-webhooks", "version": 1, "webhooks": [webhook]}
    _status, imported = api_says(script, "post", "/api/v1/webhooks/import", file)
    assert [error["message"] for error in paged["errors"]] == called == imported != []


@pytest.mark.parametrize("given", [{"measurement_id": "UA-1"}, {"measurement_id": " G-1"}, {"api_secret": "x" * 201}])
def test_google_analytics_is_refused_in_the_same_words(
    hub: Served, owner: FlaskClient, script: FlaskClient, given: dict[str, str]
) -> None:
    locked = _locked(hub)
    whole = {"measurement_id": "G-ABC1234567", "api_secret": "secret", **given}
    said = page_says(owner, f"/projects/{hub.project_id}/webhooks/{locked}/setup", whole)
    answer = script.put(f"/api/v1/webhooks/{locked}/google-analytics", json=whole)
    assert answer.status_code == 422
    assert [error["message"] for error in answer.get_json()["errors"]] == said != []


def test_a_webhook_is_switched_with_the_same_line_and_the_same_refusal(
    hub: Served, owner: FlaskClient, script: FlaskClient
) -> None:
    root = f"/projects/{hub.project_id}/webhooks"
    paged, called = _webhook(script, "by page"), _webhook(script, "by API")
    before = len(_lines(hub))
    for on in (False, True):
        form = {"enabled": "1" if on else "0", "csrf_token": token_of(owner, root)}
        owner.post(f"{root}/{paged['id']}/enabled", data=form)
        answer = script.put(f"/api/v1/webhooks/{called['id']}/enabled", json={"enabled": on})
        assert (answer.status_code, answer.get_json()["enabled"]) == (200, on)
    off_page, off_api, on_page, on_api = _lines(hub)[before:]
    assert (
        (off_page[0], off_page[2]) == (off_api[0], off_api[2]) == ("webhook switched off", {"enabled": [True, False]})
    )
    assert (on_page[0], on_page[2]) == (on_api[0], on_api[2]) == ("webhook switched on", {"enabled": [False, True]})
    refused = script.put(f"/api/v1/webhooks/{_locked(hub)}/enabled", json={"enabled": True})
    assert refused.status_code == 422
    assert "still contains" in refused.get_json()["detail"]


def _locked(hub: Served) -> int:
    """The event of Google Analytics, as a new project has it."""
    (ready,) = default_event().webhooks
    with hub.database.write() as session:
        row = Webhook(project_id=hub.project_id, name=ready.name, stage=ready.stage, enabled=False, locked=True,
                      spec=ready.spec, created_on=now())  # fmt: skip
        session.add(row)
        session.flush()
        return row.id
