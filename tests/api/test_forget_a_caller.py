"""A program removes for good what the hub knows of a caller, and what one delivery contains."""

from datetime import UTC, datetime, timedelta

import pytest
import requests
from sqlalchemy import insert, select, update

from pbxhub.calls.stages import CallReport, Stage, Value
from pbxhub.client import ProblemError
from pbxhub.delivery.outbox import publish
from pbxhub.store.api import KeptAnswer
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.ids import new_id
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.store.session import Base, Database
from tests.support.made_failures import NOON, Failures
from tests.support.served import Served

NUMBER, MARK = "+380441234567", "Zoriana-7f3a"
ORDER = {"mobile_number": NUMBER, "agent_id": "101", "name": MARK, "custom_args_values": {"note": MARK}}
NOTHING = dict.fromkeys(("deliveries", "calls", "orders", "attributes", "left", "calls_left"), 0)


def ask(hub: Served, path: str, **given: object) -> requests.Response:
    headers = {"X-API-KEY": hub.key("call", "write", "admin"), "Idempotency-Key": path}
    return requests.post(f"{hub.address}/api/v1{path}", json=given, headers=headers, timeout=30)


def forget(hub: Served) -> dict[str, int]:
    found = hub.client("admin")._ask("POST", "/deliveries/remove-content", json={"number": NUMBER, "calls": True}).data
    assert MARK not in everything(hub.database)
    return dict(found)


def everything(database: Database) -> str:
    with database.read() as session:
        return str([session.execute(select(table)).all() for table in Base.metadata.sorted_tables])


def told(linkedid: str, over: bool, values: dict[str, Value]) -> CallReport:
    now = datetime.now(UTC)
    return CallReport(
        linkedid=linkedid, values=values, stages=(Stage("outgoing.after", "", 1, now, {}),), direction="outgoing",
        caller=NUMBER, caller_name="", dst=NUMBER, extension="101", started_on=now, answered_on=None,
        ended_on=now if over else None, disposition="", memory={},
    )  # fmt: skip


@pytest.fixture
def failures(hub: Served) -> Failures:
    made = Failures(hub.database, hub.project_id)
    made.add(NOON, "first", "second")
    made.add(NOON + timedelta(hours=1), "pending", state="pending")
    made.add(NOON + timedelta(hours=1), "other", caller="+380509990000")
    with hub.database.write() as session:
        session.execute(update(Delivery).values(url="https://example.com/lead?phone=380670000001", body=b"Zoriana"))
    return made


def refused(hub: Served, method: str, path: str, scope: str = "admin", **given: object) -> tuple[int, str]:
    with pytest.raises(ProblemError) as caught:
        hub.client(scope)._ask(method, path, **({"json": given} if method == "POST" else {}))
    return caught.value.status, str(caught.value).partition(": ")[2]


def test_everything_of_a_caller_goes_except_what_is_still_to_be_sent(hub: Served, failures: Failures) -> None:
    client, path = hub.client("admin"), "/deliveries/remove-content"
    given = {"number": "0670000001", "calls": True}
    assert client._ask("POST", path, json=given).data == NOTHING | {
        "deliveries": 2,
        "calls": 2,
        "left": 1,
        "calls_left": 1,
    }
    assert client._ask("POST", path, json=given).data == NOTHING | {"left": 1, "calls_left": 1}
    for name, address in (("first", "https://example.com"), ("other", "https://example.com/lead?phone=380670000001")):
        row = client._ask("GET", f"/deliveries/{failures.ids[name]}").data
        assert (row["url"], bool(row["content_removed_on"])) == (address, name == "first")
        assert row["content_removed_by"] == ("API key test" if name == "first" else None)


def test_one_delivery_is_emptied_once_and_refused_with_a_sentence(hub: Served, failures: Failures) -> None:
    client, one = hub.client("admin"), f"/deliveries/{failures.ids['first']}/content"
    client._ask("DELETE", one)
    assert refused(hub, "DELETE", one) == (409, "Its content was removed already.")
    status, sentence = refused(hub, "DELETE", f"/deliveries/{failures.ids['pending']}/content")
    assert (status, sentence.startswith("It is still to be sent, or its call is going on")) == (409, True)
    assert refused(hub, "DELETE", f"/deliveries/{new_id()}/content")[0] == 404
    again = refused(hub, "POST", f"/deliveries/{failures.ids['first']}/resend", current_settings=False)
    assert again == (409, "Its content was removed, so it can only be sent with the current settings.")


def test_it_is_said_whose_content_and_by_whom(hub: Served, failures: Failures) -> None:
    path, one = "/deliveries/remove-content", str(failures.ids["first"])
    assert refused(hub, "POST", path, "write", ids=[one])[0] == 403
    assert refused(hub, "DELETE", f"/deliveries/{one}/content", "write")[0] == 403
    for wrong in ({}, {"ids": [one], "number": "1"}, {"ids": [one], "call_id": one}):
        status, sentence = refused(hub, "POST", path, **wrong)
        assert (status, "It is not clear whose content is removed." in sentence) == (422, True)
    assert refused(hub, "POST", path, call_id=str(new_id()))[0] == 404


def test_what_was_ordered_for_the_caller_goes_with_the_answers_to_the_order(hub: Served) -> None:
    order = ask(hub, "/calls", **ORDER).json()["id"]
    publish(hub.context, {hub.pbx_id: [told(f"pbxhub-{order}", True, {"note": MARK})]}, datetime.now(UTC))
    assert forget(hub) == NOTHING | {"calls": 1}
    assert ask(hub, "/calls", **ORDER).json() == {}


def test_an_order_that_never_began_keeps_its_number_only(hub: Served) -> None:
    callback = {"callback_url": f"https://crm.example.com/{MARK}"}
    order = ask(hub, "/calls", **ORDER, **callback).json()["id"]
    assert (
        hub.client("admin")
        ._ask("POST", "/deliveries/remove-content", json={"number": NUMBER, "calls": True})
        .data["calls_left"]
    )
    with hub.database.write() as session:
        session.execute(update(OrderedCall).values(status="error", ended_on=datetime.now(UTC)))
        session.execute(update(Delivery).values(state="failed", finished_on=datetime.now(UTC)))
        called = len(session.scalars(select(Delivery.id)).all())
    assert forget(hub) == NOTHING | {"orders": 1, "deliveries": called}
    assert hub.client("admin")._ask("GET", f"/calls/{order}").data["ordered"]["mobile_number"] == NUMBER
    assert forget(hub) == NOTHING


def test_attributes_for_calls_to_come_go(hub: Served) -> None:
    assert ask(hub, "/attributes", number=NUMBER, values={"attr.name": MARK}).status_code == 201
    assert forget(hub) == NOTHING | {"attributes": 1}


def test_a_call_that_goes_on_is_left_and_counted(hub: Served) -> None:
    publish(hub.context, {hub.pbx_id: [told("9.9", False, {})]}, datetime.now(UTC))
    assert forget(hub) == NOTHING | {"calls_left": 1}


def test_however_many_answers_are_kept_those_about_it_become_empty(hub: Served, failures: Failures) -> None:
    about, other = f'{{"id": "{failures.ids["first"]}"}}'.encode(), f'{{"id": "{failures.ids["other"]}"}}'.encode()
    bodies = {f"{number:04}": about if number % 150 == 0 else other for number in range(601)}
    kept = {"project_id": hub.project_id, "request_hash": "x", "status": 202, "headers": [], "created_on": NOON}
    with hub.database.write() as session:
        session.execute(insert(KeptAnswer), [{**kept, "key": key, "body": body} for key, body in bodies.items()])
    hub.client("admin")._ask("DELETE", f"/deliveries/{failures.ids['first']}/content")
    with hub.database.read() as session:
        found = {row.key: row.body for row in session.execute(select(KeptAnswer.key, KeptAnswer.body))}
    assert found == {key: b"{}" if body == about else body for key, body in bodies.items()}
