"""An employee sends a caller on, in every way Asterisk knows; the hub tells where the call went and who took it."""

from collections.abc import Callable

import pytest

from pbxhub.testing.pbx.ami_stream import AmiStream
from pbxhub.testing.pbx.asterisk import Asterisk
from pbxhub.testing.phones.sipp import redirecting_phone
from pbxhub.testing.phones.softphone import Agent
from pbxhub.testing.waiting import await_until, wait
from tests.support.watch import Watch

pytestmark = pytest.mark.asterisk
Phone = Callable[..., Agent]
TAKEN = ["incoming.before 79161234567 5550100", "incoming.forward ring 101", "incoming.pickup 101"]


@pytest.fixture
def talking(phone: Phone, outside: Phone) -> tuple[Agent, Agent]:
    """Employee 101 and a caller, in a conversation."""
    employee, caller = phone(101), outside()
    caller.dial("5550100")
    employee.accept()
    caller.await_established()
    return employee, caller


def test_blind_transfer_by_the_phone(watch: Watch, talking: tuple[Agent, Agent], phone: Phone) -> None:
    employee, caller = talking
    other = phone(102)
    employee.transfer("102")
    other.accept()
    caller.hangup()
    assert watch.story() == [
        *TAKEN,
        "incoming.forward blind_transfer 102",
        "incoming.pickup 102",
        "incoming.after ANSWERED",
    ]
    forwarded = next(stage for stage in watch.stages_so_far() if stage.values.get("forward_kind") == "blind_transfer")
    assert forwarded.values["forward_from"] == "101"


def test_blind_transfer_by_a_feature_code(watch: Watch, talking: tuple[Agent, Agent], phone: Phone) -> None:
    employee, caller = talking
    other = phone(102)
    employee.dtmf("#1102")
    other.accept()
    caller.hangup()
    assert watch.story() == [
        *TAKEN,
        "incoming.forward blind_transfer 102",
        "incoming.pickup 102",
        "incoming.after ANSWERED",
    ]


def test_attended_transfer_by_the_phone(watch: Watch, talking: tuple[Agent, Agent], phone: Phone) -> None:
    employee, caller = talking
    other = phone(102)
    consultation = employee.attended_transfer("102")
    other.accept()
    await_until(lambda: consultation.second.state == "established")
    consultation.complete()
    await_until(lambda: employee.state == "closed")
    caller.hangup()
    other.await_closed()
    assert watch.story() == [
        *TAKEN,
        "incoming.forward attended_transfer 102",
        "incoming.pickup 102",
        "incoming.after ANSWERED",
    ]


def test_attended_transfer_by_a_feature_code(watch: Watch, talking: tuple[Agent, Agent], phone: Phone) -> None:
    employee, caller = talking
    other = phone(102)
    employee.dtmf("*2102")
    other.accept()
    employee.hangup()
    await_until(lambda: any("Event: AttendedTransfer" in block for block in watch.stream.blocks))
    caller.hangup()
    assert watch.story() == [
        *TAKEN,
        "incoming.forward attended_transfer 102",
        "incoming.pickup 102",
        "incoming.after ANSWERED",
    ]


def test_attended_transfer_that_is_given_up_changes_nothing(
    watch: Watch, talking: tuple[Agent, Agent], phone: Phone
) -> None:
    employee, caller = talking
    other = phone(102)
    consultation = employee.attended_transfer("102")
    other.accept()
    await_until(lambda: consultation.second.state == "established")
    consultation.abort()
    other.await_closed()
    caller.hangup()
    employee.await_closed()
    assert watch.story() == [*TAKEN, "incoming.after ANSWERED"]


def test_transfer_to_a_phone_that_does_not_answer(watch: Watch, talking: tuple[Agent, Agent], phone: Phone) -> None:
    employee, caller = talking
    other = phone(102)
    employee.transfer("102")
    other.await_incoming()
    other.hangup()
    caller.await_closed()
    assert watch.story() == [*TAKEN, "incoming.forward blind_transfer 102", "incoming.after ANSWERED"]


def test_the_phone_sends_the_call_on_before_answering(
    watch: Watch, pbx: Asterisk, phone: Phone, outside: Phone
) -> None:
    other, caller = phone(102), outside()
    with redirecting_phone(pbx.network.address(151), f"sip:102@{pbx.address}"):
        caller.dial("5550251")
        other.accept()
        caller.hangup()
        assert watch.story() == [
            "incoming.before 79161234567 5550251",
            "incoming.forward ring 151",
            "incoming.forward diversion 102",
            "incoming.pickup 102",
            "incoming.after ANSWERED",
        ]


def test_a_call_is_parked_and_taken_from_the_slot(watch: Watch, talking: tuple[Agent, Agent], phone: Phone) -> None:
    employee, caller = talking
    other = phone(102)
    employee.dtmf("#72")

    def slot() -> str:
        parked = [block for block in watch.stream.blocks if "Event: ParkedCall\n" in block]
        assert parked, "nothing is parked"
        return parked[0].partition("ParkingSpace: ")[2].partition("\n")[0]

    number = await_until(slot)
    other.dial(number)
    other.await_established()
    wait("500ms", caller, other)  # answered comes before bridged: a caller who leaves between has met nobody
    caller.hangup()
    assert watch.story() == [
        *TAKEN,
        f"incoming.forward park {number}",
        "incoming.pickup 102",
        "incoming.after ANSWERED",
    ]


def test_a_colleague_picks_up_the_ringing_call(watch: Watch, phone: Phone, outside: Phone) -> None:
    ringing, colleague, caller = phone(101), phone(102), outside()
    caller.dial("5550100")
    ringing.await_incoming()
    colleague.dial("*8")
    colleague.await_established()
    caller.await_established()
    caller.hangup()
    assert watch.story() == [*TAKEN[:2], "incoming.pickup 102", "incoming.after ANSWERED"]


def test_a_call_is_redirected_from_the_outside_of_the_phones(
    watch: Watch, pbx: Asterisk, talking: tuple[Agent, Agent], phone: Phone
) -> None:
    caller = talking[1]
    other = phone(102)
    admin = AmiStream(pbx.address)
    newchannel = next(block for block in watch.stream.blocks if "Event: Newchannel" in block)
    channel = newchannel.partition("Channel: ")[2].partition("\n")[0]
    admin.ask("Redirect", Channel=channel, Context="from-internal", Exten="102", Priority="1")
    other.accept()
    caller.hangup()
    assert watch.story() == [*TAKEN, "incoming.forward redirect 102", "incoming.pickup 102", "incoming.after ANSWERED"]
    admin.close()
