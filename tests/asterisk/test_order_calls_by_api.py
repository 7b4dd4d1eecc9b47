"""A program orders calls on a real Asterisk: every status, its callback, at most one ringing, whatever is killed."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pbxhub.client import Client, OrderedCall
from pbxhub.store.accounts import ApiKey
from pbxhub.testing.asterisk import PASSWORD, Asterisk
from pbxhub.testing.hub import Hub
from pbxhub.testing.mock import MockServer, regex
from pbxhub.testing.mock_answers import text_response
from pbxhub.testing.softphone import Agent
from pbxhub.testing.waiting import await_until

pytestmark = pytest.mark.asterisk
Phone = Callable[..., Agent]
NUMBER = "15550001"  # at the far end of trunk 0
KEY = "pbx_test"


@dataclass(frozen=True)
class CallingUser:
    """The AMI user that may start calls, [pbxhub-calls] of asterisk-conf/."""

    host: str
    port: int
    username: str = "pbxhub-caller"
    secret: str = PASSWORD


@pytest.fixture
def receiver() -> Iterator[MockServer]:
    with MockServer() as server:
        server.respond("*", regex(".*"), text_response("ok"))
        yield server


@pytest.fixture
def hub(pbx: Asterisk, tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub") as running:
        running.start()
        running.listen_to(CallingUser(pbx.host, pbx.port))
        give_key(running)
        yield running


def give_key(hub: Hub) -> None:
    with hub.database.write() as session:
        session.add(
            ApiKey(
                project_id=hub.project_id, name="test", prefix="pbx_", scopes=["read", "write", "call"],
                key_hash=hashlib.sha256(KEY.encode()).hexdigest(), created_on=datetime.now(UTC),
            )
        )  # fmt: skip


def order(hub: Hub, receiver: MockServer, **more: object) -> OrderedCall:
    return Client(hub.url, KEY).order_call(
        NUMBER, "101", callback_url=f"{receiver.url}/cb?fixed=1", headers={"X-Mine": "yes"}, params={"who": "a&b"},
        custom={"order": 7}, name="Anna", from_number="5550100", **more,
    )  # fmt: skip


def await_status(hub: Hub, placed: OrderedCall, status: str, within: str = "30s") -> OrderedCall:
    client = Client(hub.url, KEY)

    def reached() -> OrderedCall:
        now = client.call(placed.id)
        assert now.status == status, f"{now.status}: {now.reason}\n{hub.log[-3000:]}"
        return now

    return await_until(reached, within)


def told(receiver: MockServer) -> list[str]:
    return [request.json("data.status") for request in receiver.requests]


def await_told(receiver: MockServer, *statuses: str) -> None:
    def heard() -> None:
        assert told(receiver) == list(statuses)

    await_until(heard, "15s")


def test_a_call_is_answered_and_over(hub: Hub, receiver: MockServer, phone: Phone, far_end: Phone) -> None:
    employee, other = phone(101), far_end(0)
    placed = order(hub, receiver)
    assert placed.status == "registered"
    employee.accept()
    other.accept()
    await_status(hub, placed, "ongoing")
    other.hangup()
    done = await_status(hub, placed, "completed")
    await_told(receiver, "registered", "ongoing", "completed")
    last = receiver.requests[-1]
    assert (last.json("status"), last.json("message")) == ("success", "Call Details")
    assert last.json("data.call_id") == placed.id
    assert last.json("data.custom_args_values") == {"order": 7}
    assert isinstance(last.json("data.call_duration"), int)
    assert last.target == "/cb?fixed=1&who=a%26b"
    assert last.header("X-Mine") == "yes"
    assert last.header("Content-Type") is None
    assert done.data["direction"] == "outgoing"
    stages = [stage["stage"] for stage in Client(hub.url, KEY).all(f"/calls/{placed.id}/stages")]
    assert stages == ["outgoing.before", "outgoing.pickup", "outgoing.after"]


def test_an_analysis_comes_later_and_is_told(hub: Hub, receiver: MockServer, phone: Phone, far_end: Phone) -> None:
    hub.webhook("call.analysis", f"{receiver.url}/analysed", parameters={"mood": "<<analysis>>"})
    employee, other = phone(101), far_end(0)
    placed = order(hub, receiver)
    employee.accept()
    other.accept()
    await_status(hub, placed, "ongoing")
    other.hangup()
    await_status(hub, placed, "completed")
    Client(hub.url, KEY).put(f"/calls/{placed.id}/transcript", {"transcript": "Good morning"})
    Client(hub.url, KEY).put(f"/calls/{placed.id}/analysis", {"analysis": {"mood": "calm"}})

    def heard() -> None:
        later = [request.json("data").get("analysis") for request in receiver.requests if request.path == "/cb"]
        assert later == [None, None, None, {"mood": "calm"}]
        assert receiver.last_request("/analysed").json("mood") == {"mood": "calm"}

    await_until(heard, "15s")
    assert [one for one in receiver.requests if one.path == "/cb"][3].json("data.transcript") == "Good morning"


def test_the_agent_does_not_take_it(hub: Hub, receiver: MockServer, phone: Phone) -> None:
    employee = phone(101)
    placed = order(hub, receiver)
    employee.await_incoming()
    employee.hangup()

    def refused() -> str:
        now = Client(hub.url, KEY).call(placed.id)
        # Asterisk tells a phone that refuses as busy (5) or as a failure (0), whichever it reads first
        assert now.status in ("failed", "error"), f"{now.status}: {now.reason}"
        assert "agent" in now.reason
        return now.status

    await_told(receiver, "registered", await_until(refused, "30s"))


def test_the_number_does_not_answer(hub: Hub, receiver: MockServer, phone: Phone, far_end: Phone) -> None:
    employee, other = phone(101), far_end(0)
    placed = order(hub, receiver)
    employee.accept()
    other.await_incoming()
    assert "NO ANSWER" in await_status(hub, placed, "failed").reason
    await_told(receiver, "registered", "failed")


def test_the_agent_has_no_phone(hub: Hub, receiver: MockServer) -> None:
    placed = order(hub, receiver)
    assert "could not be reached" in await_status(hub, placed, "error").reason
    await_told(receiver, "registered", "error")


def test_a_call_is_called_off_while_it_rings(hub: Hub, receiver: MockServer, phone: Phone, pbx: Asterisk) -> None:
    employee = phone(101)
    placed = order(hub, receiver)
    employee.await_incoming()
    Client(hub.url, KEY).cancel(placed.id)
    await_status(hub, placed, "cancelled")
    await_told(receiver, "registered", "cancelled")
    pbx.wait_idle()


def test_a_call_is_called_off_while_they_talk(
    hub: Hub, receiver: MockServer, phone: Phone, far_end: Phone, pbx: Asterisk
) -> None:
    employee, other = phone(101), far_end(0)
    placed = order(hub, receiver)
    employee.accept()
    other.accept()
    await_status(hub, placed, "ongoing")
    Client(hub.url, KEY).cancel(placed.id)
    await_status(hub, placed, "cancelled")
    await_told(receiver, "registered", "ongoing", "cancelled")
    pbx.wait_idle()


def test_a_hub_killed_in_a_call_tells_the_end_afterwards(
    hub: Hub, receiver: MockServer, phone: Phone, far_end: Phone
) -> None:
    employee, other = phone(101), far_end(0)
    placed = order(hub, receiver)
    employee.accept()
    other.accept()
    await_status(hub, placed, "ongoing")
    hub.kill()
    other.hangup()
    hub.start()
    await_status(hub, placed, "completed")
    await_told(receiver, "registered", "ongoing", "completed")


def test_a_hub_killed_while_it_rings_never_rings_again(
    hub: Hub, receiver: MockServer, phone: Phone, far_end: Phone
) -> None:
    employee, other = phone(101), far_end(0)
    placed = order(hub, receiver)
    employee.await_incoming()
    hub.kill()
    hub.start()
    employee.accept()
    other.accept()
    await_status(hub, placed, "ongoing")
    other.hangup()
    await_status(hub, placed, "completed")
    await_told(receiver, "registered", "ongoing", "completed")
