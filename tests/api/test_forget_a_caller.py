"""A program removes for good what the hub knows of a caller, and what one delivery contains."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from pbxhub.client import ProblemError
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.ids import new_id
from tests.support.made_failures import NOON, Failures
from tests.support.served import Served


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
    assert client._ask("POST", path, json=given).data == {"deliveries": 2, "calls": 2, "left": 1}
    assert client._ask("POST", path, json=given).data == {"deliveries": 0, "calls": 0, "left": 1}
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
