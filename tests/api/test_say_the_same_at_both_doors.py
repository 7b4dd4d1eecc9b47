"""The same thing is done through a page and through the API: one rule, one sentence, one line in the audit log."""

import html
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from served import Served
from signing_in import member, program, token_of
from sqlalchemy import select

from pbxhub.store.accounts import AuditEntry, Employee, Number

LONG = "x" * 201


@pytest.fixture
def owner(hub: Served) -> FlaskClient:
    return member(hub, "owner")


@pytest.fixture
def script(hub: Served) -> FlaskClient:
    return program(hub, "admin")


def page_says(owner: FlaskClient, path: str, form: dict[str, Any]) -> list[str]:
    token = token_of(owner, path if not path.endswith("alerts") else path.replace("alerts", "settings"))
    text = owner.post(path, data={**form, "csrf_token": token}).text
    return [html.unescape(found) for found in re.findall(r'class="field-error">([^<]+)<', text)]


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
    ],
)
def test_an_employee_is_refused_in_the_same_words(
    hub: Served, owner: FlaskClient, script: FlaskClient, given: dict[str, str], path: str
) -> None:
    said = page_says(owner, f"/projects/{hub.project_id}/employees/new", given)
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


def test_what_is_there_already_is_told_in_the_same_words(hub: Served, owner: FlaskClient, script: FlaskClient) -> None:
    for page, path, card in (
        ("employees", "/api/v1/employees", {"extension": "101"}),
        ("numbers", "/api/v1/numbers", {"did": "380", "pbx_id": hub.pbx_id}),
    ):  # fmt: skip
        assert script.post(path, json=card).status_code == 201
        said = page_says(owner, f"/projects/{hub.project_id}/{page}/new", card)
        assert api_says(script, "post", path, card) == (409, said)


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
    by_page("/settings", {"name": "Other", "time_zone": "Europe/Kyiv", "country": "UA"}, "/settings")
    by_page("/settings", {"name": "Ours", "time_zone": "UTC", "country": "UA"}, "/settings")
    paged = _lines(hub)
    made = script.post("/api/v1/numbers", json=number).get_json()["id"]
    script.delete(f"/api/v1/numbers/{made}")
    script.post("/api/v1/employees", json={**card, "email": "", "department": "", "crm_id": ""})
    script.delete(f"/api/v1/employees/{ids(Employee)}")
    for name, zone in (("Other", "Europe/Kyiv"), ("Ours", "UTC")):
        path = f"/api/v1/projects/{hub.project_id}"
        tag = script.get(path).headers["ETag"]
        script.patch(path, json={"name": name, "time_zone": zone}, headers={"If-Match": tag})
    assert len(paged) == 6
    assert _lines(hub)[6:] == paged


@pytest.mark.parametrize("address", ["", "nonsense", "http://10.0.0.1/", "a@b c.example", "x" * 2001])
def test_an_alert_goes_nowhere_but_to_an_address(hub: Served, owner: FlaskClient, address: str) -> None:
    assert page_says(owner, f"/projects/{hub.project_id}/alerts", {"address": address})
