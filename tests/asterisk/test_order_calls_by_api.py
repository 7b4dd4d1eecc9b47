"""A program orders calls on a real Asterisk: every status, its callback, at most one ringing, whatever is killed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import select

from pbxhub.client import Client, OrderedCall, ProblemError
from pbxhub.store.events import EventRow
from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.pbx.asterisk import Asterisk
from pbxhub.testing.phones.softphone import Agent
from pbxhub.testing.receivers.mock_answers import Answer, text_response
from pbxhub.testing.receivers.mock_request import MockRequest
from pbxhub.testing.receivers.mock_server import MockServer, regex
from pbxhub.testing.waiting import await_until
from tests.support.calling_user import KEY, CallingUser, give_key

pytestmark = pytest.mark.asterisk
Phone = Callable[..., Agent]
NUMBER = "15550001"  # at the far end of trunk 0


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


def order(hub: Hub, receiver: MockServer, number: str = NUMBER) -> OrderedCall:
    return Client(hub.url, KEY).order_call(
        number, "101", callback_url=f"{receiver.url}/cb?fixed=1", headers={"X-Mine": "yes"}, params={"who": "a&b"},
        custom={"order": 7}, name="Anna", from_number="5550100",
    )  # fmt: skip


def await_status(hub: Hub, placed: OrderedCall, status: str, within: str = "60s") -> OrderedCall:
    client = Client(hub.url, KEY)

    def reached() -> OrderedCall:
        now = client.call(placed.id)
        assert now.status == status, f"{now.status}: {now.reason}\n{hub.log[-3000:]}"
        return now

    return await_until(reached, within)


def told(receiver: MockServer) -> list[str]:
    return [request.json("data.status") for request in receiver.requests]


def await_told(hub: Hub, receiver: MockServer, placed: OrderedCall, *statuses: str) -> None:
    """Exactly these statuses, in this order: of the order, at the receiver, and nothing that is still to be sent."""

    def settled() -> None:
        assert told(receiver) == list(statuses), hub.log[-3000:]
        assert [one.state for one in hub.deliveries()] == ["delivered"] * len(statuses)

    await_until(settled)
    assert gone_through(hub, placed) == list(statuses)
    assert {request.json("data.call_id") for request in receiver.requests} == {placed.id}
    assert len({request.header("webhook-id") for request in receiver.requests}) == len(statuses)


def gone_through(hub: Hub, placed: OrderedCall) -> list[str]:
    """Every status the order has had, from the first on."""
    with hub.database.read() as session:
        rows = session.scalars(select(EventRow).where(EventRow.type == "call_status_changed").order_by(EventRow.id))
        return [str(row.data["status"]) for row in rows if row.data["order_id"] == placed.id]


def pbx_of(hub: Hub) -> int:
    (pbx,) = Client(hub.url, KEY).all("/pbxs")
    return int(pbx["id"])


def dial_plan(hub: Hub, **changes: object) -> None:
    program = Client(hub.url, KEY)
    path = f"/pbxs/{pbx_of(hub)}/dial-plan"
    program.change(path, program.get(path), changes)


def test_a_call_is_answered_and_over(hub: Hub, receiver: MockServer, phone: Phone, far_end: Phone) -> None:
    employee, other = phone(101), far_end(0)
    placed = order(hub, receiver)
    assert placed.status == "registered"
    employee.accept()
    other.accept()
    await_status(hub, placed, "ongoing")
    other.hangup()
    done = await_status(hub, placed, "completed")
    await_told(hub, receiver, placed, "registered", "ongoing", "completed")
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

    await_until(heard)
    assert [one for one in receiver.requests if one.path == "/cb"][3].json("data.transcript") == "Good morning"


@pytest.mark.parametrize(("answer", "disposition"), [(603, "DECLINE"), (486, "BUSY"), (480, "NO ANSWER")])
def test_the_agent_does_not_take_it(
    hub: Hub, receiver: MockServer, phone: Phone, answer: int, disposition: str
) -> None:
    employee = phone(101)
    placed = order(hub, receiver)
    employee.respond_incoming(answer)
    assert await_status(hub, placed, "failed").reason == f"The agent did not answer: {disposition}."
    await_told(hub, receiver, placed, "registered", "failed")


def test_the_agents_phone_rings_out(hub: Hub, receiver: MockServer, phone: Phone, pbx: Asterisk) -> None:
    dial_plan(hub, ring_seconds=5)
    employee = phone(101)
    placed = order(hub, receiver)
    employee.await_incoming()
    assert await_status(hub, placed, "failed").reason == "The agent did not answer: NO ANSWER."
    await_told(hub, receiver, placed, "registered", "failed")
    pbx.wait_idle()


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (603, "failed", "Not answered: DECLINE."),
        (486, "failed", "Not answered: BUSY."),
        (404, "error", "The number was not reached."),
    ],
)
def test_the_number_does_not_take_it(
    hub: Hub, receiver: MockServer, phone: Phone, far_end: Phone, answer: int, status: str, reason: str
) -> None:
    employee, other = phone(101), far_end(0)
    placed = order(hub, receiver)
    employee.accept()
    other.respond_incoming(answer)
    assert await_status(hub, placed, status).reason == reason
    await_told(hub, receiver, placed, "registered", status)


def test_the_number_does_not_answer(hub: Hub, receiver: MockServer, phone: Phone, far_end: Phone) -> None:
    employee, other = phone(101), far_end(0)
    placed = order(hub, receiver)
    employee.accept()
    other.await_incoming()
    assert await_status(hub, placed, "failed").reason == "Not answered: NO ANSWER."
    await_told(hub, receiver, placed, "registered", "failed")


def test_the_agent_has_no_phone(hub: Hub, receiver: MockServer) -> None:
    placed = order(hub, receiver)
    reason = await_status(hub, placed, "error").reason
    assert reason == "The agent's phone could not be reached: it is not registered."
    await_told(hub, receiver, placed, "registered", "error")


def test_the_dialplan_of_asterisk_has_no_such_number(hub: Hub, receiver: MockServer, phone: Phone) -> None:
    employee = phone(101)
    placed = order(hub, receiver, "442071234567")
    reason = await_status(hub, placed, "error").reason
    assert reason == "The PBX refused to place the call: Extension does not exist."
    await_told(hub, receiver, placed, "registered", "error")
    assert employee.calls == []


def test_a_number_the_dial_plan_does_not_allow_rings_nobody_and_is_told_to_nobody(
    hub: Hub, receiver: MockServer, phone: Phone
) -> None:
    employee = phone(101)
    dial_plan(hub, allowed=["_1666."])
    with pytest.raises(ProblemError) as caught:
        order(hub, receiver)
    assert (caught.value.status, [path for path, _ in caught.value.errors]) == (422, ["mobile_number"])
    dial_plan(hub, allowed=["_1555."])  # the next order is told, so anything of the first would have been
    placed = order(hub, receiver)
    employee.respond_incoming(486)
    await_status(hub, placed, "failed")
    await_told(hub, receiver, placed, "registered", "failed")
    assert len(employee.calls) == 1


def test_a_call_is_called_off_while_it_rings(hub: Hub, receiver: MockServer, phone: Phone, pbx: Asterisk) -> None:
    employee = phone(101)
    placed = order(hub, receiver)
    employee.await_incoming()
    Client(hub.url, KEY).cancel(placed.id)
    assert await_status(hub, placed, "cancelled").reason == "Called off."
    await_told(hub, receiver, placed, "registered", "cancelled")
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
    assert await_status(hub, placed, "cancelled").reason == "Called off."
    await_told(hub, receiver, placed, "registered", "ongoing", "cancelled")
    pbx.wait_idle()


def test_a_hub_killed_in_a_call_tells_the_end_afterwards(
    hub: Hub, receiver: MockServer, phone: Phone, far_end: Phone
) -> None:
    employee, other = phone(101), far_end(0)
    placed = order(hub, receiver)
    employee.accept()
    other.accept()
    await_told(hub, receiver, placed, "registered", "ongoing")  # a request on its way is repeated: the next test
    hub.kill()
    other.hangup()
    hub.start()
    await_status(hub, placed, "completed")
    await_told(hub, receiver, placed, "registered", "ongoing", "completed")


def test_a_hub_killed_while_a_callback_is_on_its_way_repeats_it_and_tells_the_end_afterwards(
    hub: Hub, receiver: MockServer, phone: Phone, far_end: Phone
) -> None:
    killed = Event()

    def answer(request: MockRequest) -> Answer:
        if request.json("data.status") == "ongoing":
            killed.wait(20)
        return text_response("ok")

    receiver.on("*", regex(".*"), answer)
    employee, other = phone(101), far_end(0)
    placed = order(hub, receiver)
    employee.accept()
    other.accept()
    await_until(lambda: told(receiver) == ["registered", "ongoing"])
    hub.kill()
    killed.set()
    other.hangup()
    hub.start()
    await_status(hub, placed, "completed")
    await_until(lambda: told(receiver)[-1:] == ["completed"], "120s")  # the lease of the killed hub: 30 s
    assert sorted(told(receiver)) == ["completed", "ongoing", "ongoing", "registered"]
    assert gone_through(hub, placed) == ["registered", "ongoing", "completed"]
    ids = [request.header("webhook-id") for request in receiver.requests]
    assert len(set(ids)) == 3
    assert ids[1] in ids[2:]


def test_a_hub_killed_while_it_rings_never_rings_again(
    hub: Hub, receiver: MockServer, phone: Phone, far_end: Phone
) -> None:
    employee, other = phone(101), far_end(0)
    placed = order(hub, receiver)
    employee.await_incoming()
    await_told(hub, receiver, placed, "registered")
    hub.kill()
    hub.start()
    employee.accept()
    other.accept()
    await_status(hub, placed, "ongoing")
    other.hangup()
    await_status(hub, placed, "completed")
    await_told(hub, receiver, placed, "registered", "ongoing", "completed")
    assert len(employee.calls) == 1


@pytest.mark.parametrize("answer", ["before the hub is back", "after it"])
def test_an_agent_who_declines_while_a_killed_hub_is_away_has_declined(
    pbx: Asterisk, tmp_path: Path, receiver: MockServer, phone: Phone, answer: str
) -> None:
    """From its channel when that still rings, from CEL when it is gone."""
    employee = phone(101)
    with Hub(tmp_path / "hub") as hub:
        hub.start()
        hub.listen_to(CallingUser(pbx.host, pbx.port), cel=pbx.cel_database)
        give_key(hub)
        placed = order(hub, receiver)
        employee.await_incoming()
        await_told(hub, receiver, placed, "registered")
        hub.kill()
        if answer == "before the hub is back":
            employee.respond_incoming(603)
        hub.start()
        if answer == "after it":
            hub.await_connected(pbx_of(hub))
            employee.respond_incoming(603)
        assert await_status(hub, placed, "failed").reason == "The agent did not answer: DECLINE."
        await_told(hub, receiver, placed, "registered", "failed")
