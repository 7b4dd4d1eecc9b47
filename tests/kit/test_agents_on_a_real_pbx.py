"""Scenarios with softphones on a real Asterisk, as an integrator writes them."""

import json
import sqlite3

import pytest

from pbxhub.testing import PhoneFailedError, await_until, expect, wait

pytestmark = pytest.mark.asterisk
PASSWORD = "secret"


@pytest.fixture
def employee(asterisk, agent):
    """employee(101): a registered phone of the laboratory."""
    return lambda extension: agent(str(extension), asterisk.address, PASSWORD)


@pytest.fixture
def caller(asterisk, agent):
    """Somebody outside, who calls DIDs through the trunk."""
    return agent("380441234567", asterisk.address, address=asterisk.network.address(2))


def test_a_call_is_answered_stays_up_and_ends(caller, employee):
    callee = employee(101)
    caller.dial("5550100")
    callee.await_incoming()
    expect(callee.peer).equals("380441234567")
    callee.accept()
    caller.await_established()
    wait("1s", caller, callee)
    caller.hangup()
    expect(callee.await_closed().status_code).is_absent()


def test_a_phone_on_tcp_registers_dials_and_is_called(employee, agent, asterisk):
    phone, colleague = agent("101", asterisk.address, PASSWORD, transport="tcp"), employee(102)
    phone.dial("102")
    colleague.accept()
    phone.await_established()
    expect([call.state for call in phone.calls]).equals(["established"])
    phone.hangup()
    colleague.await_closed()
    colleague.dial("101")
    phone.accept()
    colleague.await_established()
    expect({message.header("Via").split()[0] for message in phone.trace}).equals({"SIP/2.0/TCP"})


def test_an_early_hangup_cancels_the_call(caller, employee):
    callee = employee(101)
    caller.dial("5550100")
    callee.await_incoming()
    caller.hangup()
    await_until(lambda: expect(callee.state).equals("closed"))
    expect(callee.reason).equals("Connection reset by peer")


def test_a_blind_transfer_connects_the_caller_with_the_third(caller, employee):
    first, second = employee(101), employee(102)
    caller.dial("5550100")
    first.accept()
    first.transfer(second)
    second.accept()
    first.await_closed()
    wait("500ms", caller, second)
    expect(second.state).equals("established")


def test_an_attended_transfer_is_completed(caller, employee):
    first, second = employee(101), employee(102)
    caller.dial("5550100")
    first.accept()
    consultation = first.attended_transfer(second)
    second.accept()
    consultation.complete()
    await_until(lambda: expect([call.state for call in first.calls]).equals(["closed", "closed"]))
    wait("500ms", caller, second)
    caller.hangup()
    second.await_closed()


def test_an_attended_transfer_is_aborted(caller, employee):
    first, second = employee(101), employee(102)
    caller.dial("5550100")
    first.accept()
    consultation = first.attended_transfer(second)
    second.accept()
    consultation.abort()
    second.await_closed()
    expect(caller.state).equals("established")
    expect(first.call.state).equals("established")


def test_a_deflected_call_rings_at_the_third(caller, employee):
    first, second = employee(101), employee(102)
    caller.dial("5550100")
    expect(first.deflect(second).reason).equals("302 Moved Temporarily")
    second.accept()
    caller.await_established()
    wait("500ms", caller, second)


@pytest.mark.parametrize("status", [486, 404])
def test_the_status_of_a_refusal_reaches_the_caller(caller, employee, status):
    callee = employee(101)
    caller.dial("5550100")
    expect(callee.respond_incoming(status).status_code).equals(status)
    expect(caller.await_closed().status_code).equals(status)


def test_the_caller_gives_a_mark_in_the_evaluation_menu(caller, employee, asterisk):
    callee = employee(101)
    caller.dial("5550105")
    callee.accept()
    caller.await_established()
    callee.hangup()
    await_until(lambda: expect(asterisk.cli("core show channels")).contains("Read"))
    caller.dtmf("4")
    caller.await_closed()
    await_until(lambda: expect(evaluations(asterisk)).equals(["4"]))


def evaluations(asterisk) -> list[str]:
    """The marks in the PBX's own CEL."""
    with sqlite3.connect(f"file:{asterisk.cel_database}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT eventextra FROM cel WHERE userdeftype = 'PBXHubEvaluation'").fetchall()
    return [json.loads(row[0])["extra"] for row in rows]


def test_a_refused_registration_is_a_sentence(asterisk, agent):
    with pytest.raises(PhoneFailedError, match=r"agent 101 cannot register at .*401"):
        agent("101", asterisk.address, "wrong")
