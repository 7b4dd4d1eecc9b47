"""A program asks the API: who may, what a refusal says, pages, versions, repeated requests, limits."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import requests

from pbxhub.client import ProblemError
from pbxhub.store.accounts import ApiKey, Employee
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.testing.receivers import misbehaving as zoo
from pbxhub.testing.receivers.bad_tls import new_authority
from pbxhub.testing.receivers.misbehaving import Cage
from pbxhub.testing.waiting import await_until
from tests.support.served import Served

SPEC = {"request": {"url": "https://crm.example.com/calls"}}


def add_employees(hub: Served, count: int) -> None:
    with hub.database.write() as session:
        session.add_all(Employee(project_id=hub.project_id, extension=str(100 + n)) for n in range(count))


@pytest.mark.slow
def test_a_program_without_a_key_learns_nothing(hub: Served) -> None:
    for key in ({}, {"X-API-KEY": "pbx_wrong"}, {"X-API-KEY": ""}):
        for path in ("/projects", "/webhooks", "/nothing-here"):
            answer = requests.get(hub.address + "/api/v1" + path, headers=key, timeout=10)
            assert answer.status_code == 401
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert "X-API-KEY" in answer.json()["detail"]


def test_a_refusal_names_the_field_and_the_path_to_it(hub: Served) -> None:
    with pytest.raises(ProblemError) as caught:
        hub.client().add("/webhooks", {"name": "CRM", "stage": "incoming.after", "spec": {"request": {"methd": "GET"}}})
    assert caught.value.status == 422
    assert caught.value.errors[0][0] == "methd"
    with pytest.raises(ProblemError) as caught:
        hub.client().add("/employees", {"extension": 5, "nmae": "x"})
    assert {path for path, _ in caught.value.errors} == {"extension", "nmae"}


def test_a_key_shows_when_it_was_used_and_only_its_hash_is_kept(hub: Served) -> None:
    key = hub.key("read")
    hub.client("read").get("/projects")
    with hub.database.read() as session:
        row = session.query(ApiKey).one()
    assert row.used_on is not None
    assert key not in json.dumps([row.key_hash, row.prefix, row.name])


def test_a_list_comes_in_pages_without_gap_or_repetition(hub: Served) -> None:
    add_employees(hub, 7)
    found = [item["extension"] for item in hub.client().all("/employees", limit=3)]
    assert found == [str(100 + n) for n in range(7)]


def test_a_change_of_what_somebody_else_has_changed_is_refused(hub: Served) -> None:
    program, another = hub.client(), hub.client()
    path = f"/employees/{program.add('/employees', {'extension': '101', 'name': 'Ivan'}).id}"
    seen, seen_too = program.get(path), another.get(path)
    another.change(path, seen_too, {"name": "Ivan Sidorov"})
    with pytest.raises(ProblemError) as caught:
        program.change(path, seen, {"name": "Iwan"})
    assert caught.value.status == 412
    assert program.get(path)["name"] == "Ivan Sidorov"
    with pytest.raises(ProblemError) as caught:
        program._ask("PATCH", path, json={"name": "x"})
    assert caught.value.status == 428


def test_what_has_not_changed_is_not_sent_again(hub: Served) -> None:
    answer = requests.get(
        f"{hub.address}/api/v1/projects/{hub.project_id}", headers={"X-API-KEY": hub.key("read")}, timeout=10
    )
    again = requests.get(
        answer.url, headers={"X-API-KEY": hub.key("read"), "If-None-Match": answer.headers["ETag"]}, timeout=10
    )
    assert (answer.status_code, again.status_code, again.content) == (200, 304, b"")


def test_a_post_sent_again_with_its_key_happens_once(hub: Served) -> None:
    program = hub.client()
    first = program.order_call("+380441234567", "101", key="order 7")
    again = program.order_call("+380441234567", "101", key="order 7")
    assert again.id == first.id
    with pytest.raises(ProblemError) as caught:
        program.order_call("+380441234568", "101", key="order 7")
    assert caught.value.status == 422
    with hub.database.read() as session:
        assert session.query(OrderedCall).count() == 1


def test_ten_at_once_with_one_key_happen_once(hub: Served) -> None:
    def order(_: int) -> str:
        try:
            return hub.client().order_call("+380441234567", "101", key="same").id
        except ProblemError as error:
            return f"refused {error.status}"

    hub.key("read", "write", "call", "admin")  # that no two threads make it
    with ThreadPoolExecutor(5) as pool:
        ids = set(pool.map(order, range(10))) - {"refused 409"}
    with hub.database.read() as session:
        assert session.query(OrderedCall).count() == 1
    assert len(ids) == 1


def test_a_refused_post_may_be_repeated_under_its_key_and_is_refused_alike(hub: Served) -> None:
    for _ in range(2):
        with pytest.raises(ProblemError) as caught:
            hub.client().add("/employees", {"extension": ""}, key="bad")
        assert caught.value.status == 422


def test_the_answer_tells_how_many_requests_are_left(hub: Served) -> None:
    hub.app.extensions["pbxhub.api"].config["API_RATE"] = "3 per minute"
    headers = {"X-API-KEY": hub.key("read")}
    answers = [requests.get(f"{hub.address}/api/v1/projects", headers=headers, timeout=10) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers[:3]] == ["2", "1", "0"]
    assert 0 < int(answers[3].headers["Retry-After"]) <= 61
    assert answers[3].headers["Content-Type"] == "application/problem+json"


def test_programs_that_ask_in_the_same_moment_are_all_answered(hub: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one is counted while the first one, in another thread, has not yet started the timer of its count."""
    headers = {"X-API-KEY": hub.key("read")}
    rates = hub.app.extensions["pbxhub.api"].extensions["pbxhub.rates"].storage
    timers, answers, others = [rates.timer], [], []

    def ask() -> None:
        answers.append(requests.get(f"{hub.address}/api/v1/projects", headers=headers, timeout=10).status_code)

    def set_timer(_storage: object, timer: threading.Timer) -> None:
        timers.append(timer)
        if not others:
            others.append(threading.Thread(target=ask))
            others[0].start()
            others[0].join(0.5)  # it may have to wait until the first one is counted

    timers[0].join()
    monkeypatch.setattr(type(rates), "timer", property(lambda _: timers[-1], set_timer), raising=False)
    ask()
    others[0].join()
    assert answers == [200, 200]


def test_a_secret_goes_in_and_never_comes_out(hub: Served) -> None:
    program = hub.client()
    spec = {"request": {"url": "https://crm.example.com/", "auth": {"kind": "bearer"}}}
    made = program.add("/webhooks", {"name": "CRM", "stage": "incoming.after", "spec": spec, "secret": "tok3n"})
    program.add("/pbxs", {"name": "b", "host": "192.0.2.1", "username": "hub", "secret": "tok3n"})
    shown = [program.get(path).data for path in (f"/webhooks/{made.id}", "/webhooks/export", "/pbxs", "/webhooks")]
    assert made["has_secret"] is True
    assert "tok3n" not in json.dumps(shown) + json.dumps(dict(made.data))


@pytest.mark.slow
def test_a_private_key_goes_in_is_used_and_never_comes_out(hub: Served, working: Callable[[], None]) -> None:
    authority = new_authority()
    certificate, key = authority.client()
    program = hub.client()

    def delivered() -> None:
        assert [row["outcome"] for row in program.get("/deliveries").data["items"]] == ["ok"]

    with Cage(zoo.says(zoo.OK), authority.strict_server()) as cage:
        request = {"url": cage.url, "tls_ca": authority.pem, "tls_certificate": certificate}
        draft = {"name": "CRM", "stage": "form.sent", "spec": {"request": request}}
        with pytest.raises(ProblemError) as caught:
            program.add("/webhooks", draft)
        assert [path for path, _ in caught.value.errors] == ["tls_key"]
        made = program.add("/webhooks", {**draft, "tls_key": key})
        assert made["has_tls_key"] is True
        assert program.add(f"/webhooks/{made.id}/test", {})["success"] is True
        program.add("/events/in", {"stage": "form.sent", "fields": {"number": "1"}})
        await_until(delivered)
        copied = program.add(f"/webhooks/{made.id}/copy", {})
        assert copied["has_tls_key"] is True
        plain = {**draft, "spec": {"request": {"url": cage.url}}}
        assert program.change(f"/webhooks/{made.id}", made, plain, "PUT")["has_tls_key"] is False
    shown = [program.get(path).data for path in (f"/webhooks/{copied.id}", "/webhooks/export", "/webhooks")]
    assert "PRIVATE KEY" not in json.dumps(shown) + json.dumps(dict(made.data))
    assert certificate in [item["spec"]["request"].get("tls_certificate") for item in shown[2]["items"]]


@pytest.mark.slow
def test_the_page_and_the_document_need_no_key_and_no_other_host(hub: Served) -> None:
    page = requests.get(f"{hub.address}/api/v1/docs", timeout=10)
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "<script>" not in page.text
    script = requests.get(f"{hub.address}/static/1/vendor/rapidoc-min.js", timeout=10)
    assert script.status_code == 200
    document = requests.get(f"{hub.address}/api/v1/openapi.json", timeout=10).json()
    assert document["openapi"] == "3.1.0"
    assert document["components"]["schemas"]["WebhookSpec"]["additionalProperties"] is False


def test_the_pages_stay_what_they_were(hub: Served) -> None:
    answer = requests.get(f"{hub.address}/sign-in", timeout=10)
    assert answer.status_code in (200, 302)
    assert "text/html" in answer.headers["Content-Type"]
    assert datetime.now(UTC)


def test_of_two_changes_at_once_of_what_was_seen_one_is_refused(hub: Served) -> None:
    program = hub.client()
    path = f"/pbxs/{hub.pbx_id}/dial-plan"
    seen = program.get(path)

    def change(number: int) -> int:
        try:
            hub.client().change(path, seen, {"at_once": 10 + number})
        except ProblemError as error:
            return error.status
        return 200

    with ThreadPoolExecutor(6) as programs:
        assert sorted(programs.map(change, range(1, 7))) == [200, 412, 412, 412, 412, 412]


@pytest.mark.slow
def test_guessing_keys_is_slowed_and_who_has_one_does_not_notice(hub: Served) -> None:
    guess = [requests.get(f"{hub.address}/api/v1/projects", headers={"X-API-KEY": f"pbx_{n}"}) for n in range(65)]
    assert {answer.status_code for answer in guess[:60]} == {401}
    assert {answer.status_code for answer in guess[60:]} == {429}
    assert guess[-1].headers["Retry-After"] == "60"
    assert list(hub.client().all("/projects"))
