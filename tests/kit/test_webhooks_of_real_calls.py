"""Whole scenarios: real phones on a real Asterisk, a running hub, a mock CRM that receives the webhooks."""

from dataclasses import dataclass

import pytest

from pbxhub.testing import await_until, expect, redirecting_phone, text_response

pytestmark = pytest.mark.asterisk
PASSWORD = "secret"
SENT = {
    "stage": "<<stage>>",
    "caller": "<<caller>>",
    "to": "<<forward_to>>",
    "kind": "<<forward_kind>>",
    "extension": "<<extension>>",
    "disposition": "<<disposition>>",
    "mark": "<<evaluation_mark>>",
}


@dataclass
class Crm:
    """The mock server of the test, and what it was told."""

    server: object

    def told(self, *names: str) -> list[tuple]:
        """These fields of each request, sorted: webhooks of their own arrive in any order."""
        rows = [(request.path.removeprefix("/"), *map(request.json, names)) for request in self.server.requests]
        return sorted(rows, key=str)

    def await_told(self, names: tuple[str, ...], wanted: list[tuple]) -> None:
        await_until(lambda: expect(self.told(*names)).equals(sorted(wanted, key=str)))


@pytest.fixture
def crm(hub, asterisk, webhook, mock_server):
    """Every stage of an incoming call is sent to a path of its own."""
    hub.listen_to(asterisk)
    server = mock_server()
    server.respond("POST", "/forward", text_response("ok"))
    for stage in ("before", "forward", "pickup", "after", "evaluation"):
        server.respond("POST", f"/{stage}", text_response("ok"))
        webhook(f"incoming.{stage}", f"{server.url}/{stage}", parameters=SENT)
    return Crm(server)


@pytest.fixture
def caller(asterisk, agent):
    return agent("380441234567", asterisk.address, address=asterisk.network.address(2))


@pytest.fixture
def employee(asterisk, agent):
    return lambda extension: agent(str(extension), asterisk.address, PASSWORD)


def test_a_blind_transfer_is_told_from_end_to_end(crm, caller, employee, deliveries):
    first, second = employee(101), employee(102)
    caller.dial("5550100")
    first.accept()
    first.transfer(second)
    second.accept()
    first.await_closed()
    caller.hangup()
    crm.await_told(
        ("caller", "to", "kind"),
        [
            ("before", "380441234567", None, None),
            ("forward", "380441234567", "101", "ring"),
            ("pickup", "380441234567", "101", "ring"),
            ("forward", "380441234567", "102", "blind_transfer"),
            ("pickup", "380441234567", "102", "blind_transfer"),
            ("after", "380441234567", "102", "blind_transfer"),
        ],
    )
    await_until(lambda: expect({one.state for one in deliveries()}).equals({"delivered"}))


def test_an_attended_transfer_is_told_when_it_is_completed(crm, caller, employee):
    first, second = employee(101), employee(102)
    caller.dial("5550100")
    first.accept()
    consultation = first.attended_transfer(second)
    second.accept()
    await_until(lambda: expect([path for (path,) in crm.told()]).equals(["before", "forward", "pickup"]))
    consultation.complete()
    await_until(lambda: expect([call.state for call in first.calls]).equals(["closed", "closed"]))
    caller.hangup()
    crm.await_told(
        ("to",),
        [("before", None), ("forward", "101"), ("pickup", "101"), ("forward", "102"), ("pickup", "102"),
         ("after", "102")],
    )  # fmt: skip


def test_a_mark_of_the_evaluation_menu_arrives(crm, caller, employee, asterisk):
    callee = employee(101)
    caller.dial("5550105")
    callee.accept()
    caller.await_established()
    callee.hangup()
    await_until(lambda: expect(asterisk.cli("core show channels")).contains("Read"))
    caller.dtmf("4")
    caller.await_closed()
    stages = ("before", "forward", "pickup", "after")
    crm.await_told(("mark",), [*((stage, None) for stage in stages), ("evaluation", 4)])


def test_an_early_hangup_is_a_call_without_an_answer(crm, caller, employee):
    callee = employee(101)
    caller.dial("5550100")
    callee.await_incoming()
    caller.hangup()
    callee.await_closed()
    crm.await_told(("disposition",), [("before", None), ("forward", None), ("after", "NO ANSWER")])


def test_a_redirected_call_is_a_diversion(crm, caller, employee, asterisk):
    callee = employee(102)
    with redirecting_phone(asterisk.network.address(151), f"sip:102@{asterisk.address}"):
        caller.dial("5550251")
        callee.accept()
        caller.await_established()
    caller.hangup()
    callee.await_closed()
    crm.await_told(
        ("to", "kind"),
        [("before", None, None), ("forward", "151", "ring"), ("forward", "102", "diversion"),
         ("pickup", "102", "diversion"), ("after", "102", "diversion")],
    )  # fmt: skip
