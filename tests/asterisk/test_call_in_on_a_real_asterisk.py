"""Somebody calls a DID on a real Asterisk; the hub tells what happened, each stage once and in order."""

from collections.abc import Callable

import pytest

from pbxhub.testing.pbx.asterisk import Asterisk
from pbxhub.testing.phones.sipp import refusing_phone
from pbxhub.testing.phones.softphone import Agent
from pbxhub.testing.waiting import await_until
from tests.support.watch import Watch

pytestmark = pytest.mark.asterisk
Phone = Callable[..., Agent]
BEFORE = "incoming.before 79161234567 5550100"


def test_a_call_is_answered_and_the_caller_hangs_up(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside(name="Иван Петров")
    caller.dial("5550100")
    employee.accept()
    caller.await_established()
    caller.hangup()
    employee.await_closed()
    assert watch.story() == [BEFORE, "incoming.forward ring 101", "incoming.pickup 101", "incoming.after ANSWERED"]
    after = watch.stages_so_far()[-1].values
    assert after["caller_name"] == "Иван Петров"
    assert after["hangup_by"] == "caller"


def test_a_call_is_answered_and_the_employee_hangs_up(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550100")
    employee.accept()
    caller.await_established()
    employee.hangup()
    caller.await_closed()
    assert watch.story() == [BEFORE, "incoming.forward ring 101", "incoming.pickup 101", "incoming.after ANSWERED"]
    assert watch.stages_so_far()[-1].values["hangup_by"] == "employee"


def test_nobody_answers(watch: Watch, phone: Phone, outside: Phone) -> None:
    phone(101)
    outside().dial("5550100")
    assert watch.story() == [BEFORE, "incoming.forward ring 101", "incoming.after NO ANSWER"]


def test_the_employee_is_busy(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550100")
    employee.await_incoming()
    employee.hangup()
    assert caller.await_closed().status_code == 486
    assert watch.story() == [BEFORE, "incoming.forward ring 101", "incoming.after BUSY"]


@pytest.mark.parametrize(("status", "disposition"), [("603 Decline", "DECLINE"), ("503 Service Unavailable", "FAILED")])
def test_the_phone_refuses(watch: Watch, outside: Phone, pbx: Asterisk, status: str, disposition: str) -> None:
    with refusing_phone(pbx.network.address(151), status):
        outside().dial("5550251")
        before = "incoming.before 79161234567 5550251"
        assert watch.story() == [before, "incoming.forward ring 151", f"incoming.after {disposition}"]


def test_the_caller_gives_up_while_it_rings(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550100")
    employee.await_incoming()
    caller.hangup()
    employee.await_closed()
    assert watch.story() == [BEFORE, "incoming.forward ring 101", "incoming.after NO ANSWER"]


def test_a_group_rings_and_one_takes_the_call(watch: Watch, phone: Phone, outside: Phone) -> None:
    first, second, third, caller = phone(101), phone(102), phone(103), outside()
    caller.dial("5550102")
    third.await_incoming()
    third.hangup()
    second.accept()
    first.await_closed()
    caller.hangup()
    assert watch.story() == [
        "incoming.before 79161234567 5550102",
        "incoming.forward ring 101",
        "incoming.forward ring 102",
        "incoming.forward ring 103",
        "incoming.pickup 102",
        "incoming.after ANSWERED",
    ]


def test_nobody_is_dialled(watch: Watch, outside: Phone) -> None:
    outside().dial("5550116")
    assert watch.story() == ["incoming.before 79161234567 5550116", "incoming.after NO-FORWARD"]


def test_the_extension_does_not_exist(watch: Watch, outside: Phone) -> None:
    outside().dial("5550115")
    assert watch.story() == ["incoming.before 79161234567 5550115", "incoming.after NO-FORWARD"]


def test_the_call_is_sent_on_to_an_outside_number_and_stays_incoming(
    watch: Watch, outside: Phone, far_end: Phone
) -> None:
    other, caller = far_end(0), outside()
    other.listen_as("15550007")
    caller.dial("5550114")
    other.accept()
    caller.await_established()
    caller.hangup()
    assert watch.story() == [
        "incoming.before 79161234567 5550114",
        "incoming.forward ring 15550007",
        "incoming.pickup 15550007",
        "incoming.after ANSWERED",
    ]


def test_hold_is_counted(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550100")
    employee.accept()
    caller.await_established()
    employee.hold()
    await_until(lambda: any("Event: Hold" in block for block in watch.stream.blocks))
    employee.resume()
    await_until(lambda: any("Event: Unhold" in block for block in watch.stream.blocks))
    caller.hangup()
    watch.story()
    assert watch.stages_so_far()[-1].values["hold_count"] == 1


def test_two_calls_at_once_are_kept_apart(watch: Watch, phone: Phone, outside: Phone) -> None:
    first, second = phone(101), phone(102)
    one, other = outside("79160000001"), outside("79160000002")
    one.dial("5550100")
    other.dial("5550202")
    first.accept()
    second.accept()
    one.hangup()
    other.hangup()
    stories = {str(call[0].values["caller"]): [stage.name for stage in call] for call in watch.calls(2)}
    every = ["incoming.before", "incoming.forward", "incoming.pickup", "incoming.after"]
    assert stories == {"79160000001": every, "79160000002": every}


def test_a_call_between_two_employees_has_no_stages(watch: Watch, phone: Phone, pbx: Asterisk) -> None:
    first, second = phone(101), phone(102)
    first.dial("102")
    second.accept()
    first.hangup()
    pbx.wait_idle()
    await_until(lambda: watch.reports)
    assert [(report.direction, report.stages) for report in watch.reports] == [("internal", ())]


def test_queue_members_ring_once_each_and_the_second_answers(watch: Watch, phone: Phone, outside: Phone) -> None:
    first, second, caller = phone(101), phone(102), outside()
    caller.dial("5550103")
    first.await_incoming()
    second.accept()
    second.hangup()
    assert watch.story() == [
        "incoming.before 79161234567 5550103",
        "incoming.forward ring 101",
        "incoming.forward ring 102",
        "incoming.pickup 102",
        "incoming.after ANSWERED",
    ]
    assert watch.stages_so_far()[-1].values["queue"] == "support"


def test_queue_members_behind_local_channels_are_seen_through(watch: Watch, phone: Phone, outside: Phone) -> None:
    first, second, caller = phone(101), phone(102), outside()
    caller.dial("5550113")
    first.await_incoming()
    second.accept()
    first.await_closed()
    caller.hangup()
    assert watch.story() == [
        "incoming.before 79161234567 5550113",
        "incoming.forward ring 101",
        "incoming.forward ring 102",
        "incoming.pickup 102",
        "incoming.after ANSWERED",
    ]


def test_the_caller_leaves_the_queue(watch: Watch, phone: Phone, outside: Phone) -> None:
    member, caller = phone(101), outside()
    caller.dial("5550103")
    member.await_incoming()
    caller.hangup()
    before = "incoming.before 79161234567 5550103"
    assert watch.story() == [before, "incoming.forward ring 101", "incoming.after NO ANSWER"]
