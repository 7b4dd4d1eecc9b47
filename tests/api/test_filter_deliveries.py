"""A program narrows the list of deliveries, and takes off the error page exactly what such a list shows."""

from datetime import timedelta

import pytest

from pbxhub.client import ProblemError
from tests.support.made_failures import NOON, Failures
from tests.support.served import Served

HALF, ONE = (NOON + timedelta(minutes=30)).isoformat(), (NOON + timedelta(hours=1)).isoformat()


@pytest.fixture
def failures(hub: Served) -> Failures:
    made = Failures(hub.database, hub.project_id)
    made.add(NOON, "noon.1")
    made.add(NOON + timedelta(minutes=30), "half.1", outcome="deadline", code=None)
    made.add(NOON + timedelta(hours=1), "one.1", "one.2", caller="+380670000002", code=503)
    return made


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"outcome": "deadline"}, {"half.1"}), ({"status_code": 0}, {"half.1"}),
        ({"status_code": 503}, {"one.1", "one.2"}),
        ({"since": HALF, "until": ONE}, {"half.1"}), ({"since": HALF}, {"half.1", "one.1", "one.2"}),
        ({"linkedid": "one.2"}, {"one.2"}), ({"number": "380670000002"}, {"one.1", "one.2"}),
        ({"stage": "incoming.after", "until": ONE}, {"noon.1", "half.1"}), ({"stage": "incoming.before"}, set()),
        ({"number": "+380670000002", "linkedid": "noon.1"}, set()),
    ],
)  # fmt: skip
def test_a_list_and_what_is_checked_by_its_filters_are_the_same(
    hub: Served, failures: Failures, given: dict[str, object], names: set[str]
) -> None:
    listed = hub.client()._ask("GET", "/deliveries", params=given).data["items"]
    assert {row["id"] for row in listed} == {str(failures.ids[name]) for name in names}
    assert hub.client()._ask("POST", "/deliveries/check", json=given).data == {"count": len(names)}
    assert failures.unchecked() == set(failures.ids) - names
    left = hub.client()._ask("GET", "/deliveries", params={"unchecked": "true"}).data["items"]
    assert {row["id"] for row in left} == {str(failures.ids[name]) for name in set(failures.ids) - names}


def test_the_deliveries_of_a_call_are_found_by_its_id(hub: Served, failures: Failures) -> None:
    call = str(failures.ids["one.1"])
    assert [
        row["call_id"] for row in hub.client()._ask("GET", "/deliveries", params={"call_id": call}).data["items"]
    ] == [call]
    order = hub.client()._ask("POST", "/resends", json={"call_id": call, "rate": 10}).data
    progress = hub.client()._ask("GET", f"/resends/{order['id']}").data
    assert progress == order | {"delivered": 0, "failures": 0, "on_their_way": 0}
    assert progress["total"] == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("outcome", "http_6xx"), ("stage", "incoming"), ("since", "yesterday"), ("until", "2026-07-10T12:00"),
     ("status_code", "99"), ("call_id", "1.1"), ("number", "1\0"), ("state", "sent")],
)  # fmt: skip
def test_a_filter_that_is_none_is_refused_by_name(hub: Served, failures: Failures, name: str, value: str) -> None:
    with pytest.raises(ProblemError) as caught:
        hub.client()._ask("GET", "/deliveries", params={name: value})
    assert (caught.value.status, caught.value.errors[0][0]) == (422, name)


def test_the_ends_of_time_are_times_too(hub: Served, failures: Failures) -> None:
    ends = {"since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z"}
    assert len(hub.client()._ask("GET", "/deliveries", params=ends).data["items"]) == 4
