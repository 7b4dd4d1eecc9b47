"""An employee dials an outside number on a real Asterisk; the hub tells what became of it."""

from collections.abc import Callable

import pytest

from pbxhub.testing.pbx.ami_stream import AmiStream
from pbxhub.testing.pbx.asterisk import Asterisk
from pbxhub.testing.phones.sipp import refusing_phone
from pbxhub.testing.phones.softphone import Agent
from tests.support.watch import Watch

pytestmark = pytest.mark.asterisk
Phone = Callable[..., Agent]


def test_the_far_end_answers(watch: Watch, phone: Phone, far_end: Phone) -> None:
    employee, other = phone(101), far_end(0)
    employee.dial("15550001")
    other.accept()
    employee.await_established()
    employee.hangup()
    assert watch.story() == ["outgoing.before 101 15550001", "outgoing.pickup 15550001", "outgoing.after ANSWERED"]
    assert watch.stages_so_far()[0].values["outbound_number"] == "5550100"


def test_the_far_end_is_busy(watch: Watch, phone: Phone, far_end: Phone) -> None:
    employee, other = phone(101), far_end(0)
    employee.dial("15550001")
    other.await_incoming()
    other.hangup()
    assert employee.await_closed().status_code == 486
    assert watch.story() == ["outgoing.before 101 15550001", "outgoing.after BUSY"]


def test_the_far_end_does_not_answer(watch: Watch, phone: Phone, far_end: Phone) -> None:
    employee, _ = phone(101), far_end(0)
    employee.dial("15550001")
    assert watch.story() == ["outgoing.before 101 15550001", "outgoing.after NO ANSWER"]


def test_the_employee_gives_up(watch: Watch, phone: Phone, far_end: Phone) -> None:
    employee, other = phone(101), far_end(0)
    employee.dial("15550001")
    other.await_incoming()
    employee.hangup()
    assert watch.story() == ["outgoing.before 101 15550001", "outgoing.after NO ANSWER"]


def test_the_trunk_refuses(watch: Watch, pbx: Asterisk, phone: Phone) -> None:
    employee = phone(101)
    with refusing_phone(pbx.trunk(1).address, "503 Service Unavailable"):
        employee.dial("15551001")
        assert watch.story() == ["outgoing.before 101 15551001", "outgoing.after FAILED"]


def test_a_call_is_started_by_an_application(watch: Watch, pbx: Asterisk, phone: Phone, far_end: Phone) -> None:
    employee, other = phone(101), far_end(0)
    admin = AmiStream(pbx.address)
    admin.ask("Originate", Channel="PJSIP/101", Context="from-internal", Exten="15550001", Priority="1", Async="true")
    employee.accept()
    other.accept()
    other.hangup()
    assert watch.story() == ["outgoing.before 101 15550001", "outgoing.pickup 15550001", "outgoing.after ANSWERED"]
    admin.close()
