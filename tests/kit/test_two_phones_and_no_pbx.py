"""Agents call each other directly: what a phone does by itself, in a second and without an Asterisk."""

import math
import struct
import wave

import pytest

from pbxhub.testing import Agent, PhoneFailedError, await_until, expect, file, tone, wait


@pytest.fixture
def callee(agent):
    return agent("bob", "127.0.0.1")


@pytest.fixture
def caller(agent, callee):
    return agent("anna", callee.address)


@pytest.fixture
def talking(caller, callee):
    """Caller and callee in a call."""
    caller.dial("bob")
    callee.accept()
    caller.await_established()
    return caller, callee


@pytest.mark.parametrize(("status", "reason", "seen"), [(603, "", "603 Decline"), (480, "At lunch", "480 At lunch")])
def test_a_call_is_refused_with_the_status_of_the_test(caller, callee, status, reason, seen):
    caller.dial("bob")
    call = callee.respond_incoming(status, reason)
    expect(caller.await_closed().reason).equals(seen)
    expect(caller.status_code).equals(status)
    expect((call.state, call.reason, call.status_code, call.hung_up_here)).equals(("closed", seen, status, True))
    caller.dial("bob")  # the phone is as good as before
    callee.accept()
    caller.await_established()


def test_a_deflected_call_goes_where_it_is_told(agent, caller, callee):
    third = agent("carol", "127.0.0.1")
    caller.dial("bob")
    expect(callee.deflect(f"sip:carol@{third.address}").status_code).equals(302)
    moved = [message for message in caller.trace if message.first_line == "SIP/2.0 302 Moved Temporarily"]
    expect(moved[0].header("Contact")).equals(f"<sip:carol@{third.address}>")


@pytest.mark.parametrize(("status", "reason"), [(200, ""), (180, ""), (700, ""), (603, "a\r\nX: b")])
def test_what_refuses_nothing_is_an_error(callee, status, reason):
    with pytest.raises(ValueError, match=r"status=|reason="):
        callee.respond_incoming(status, reason)


def test_a_call_over_tcp_is_taken_and_cannot_be_answered_freely(agent, callee):
    caller = agent("anna", callee.address, transport="tcp")
    caller.dial("bob")
    callee.await_incoming()
    expect(callee.header("Via")).matches("^SIP/2.0/TCP ")
    with pytest.raises(PhoneFailedError, match="only a call that came over UDP can be answered 603 Decline"):
        callee.respond_incoming(603)
    callee.accept()
    caller.await_established()
    expect([call.state for call in caller.calls]).equals(["established"])
    caller.hangup()
    callee.await_closed()
    expect(caller.await_closed().hung_up_here).is_true()


def test_a_phone_answers_by_itself(agent):
    callee = agent("bob", "127.0.0.1", auto_answer=True)
    caller = agent("anna", callee.address)
    caller.dial("bob")
    caller.await_established()
    callee.await_established()


def test_digits_arrive_in_their_order(talking):
    caller, callee = talking
    caller.dtmf("12#")
    await_until(lambda: expect(callee.received_dtmf).equals("12#"))


def test_a_muted_phone_is_not_heard_until_it_speaks_again(talking):
    caller, callee = talking
    caller.send_audio(tone(1000))
    callee.verify_audio(1000)
    caller.mute()
    wait("300ms")
    with pytest.raises(AssertionError, match="does not hear 1000 Hz"):
        callee.verify_audio(1000, within="300ms")
    caller.mute()
    callee.verify_audio(1000)


def test_what_was_heard_before_the_question_does_not_count(talking, tmp_path):
    caller, callee = talking
    with wave.open(str(tmp_path / "short.wav"), "wb") as audio:
        audio.setparams((1, 2, 8000, 0, "NONE", ""))
        values = (int(8000 * math.sin(2 * math.pi * 1000 * n / 8000)) for n in range(8000))
        audio.writeframes(b"".join(struct.pack("<h", value) for value in values))
    caller.send_audio(file(tmp_path / "short.wav"))
    callee.verify_audio(1000)
    wait("1200ms")
    with pytest.raises(AssertionError, match="does not hear 1000 Hz"):
        callee.verify_audio(1000, within="300ms")
    caller.hangup()
    callee.await_closed()
    with pytest.raises(AssertionError, match="agent bob is closed, not established"):
        callee.verify_audio(440, within="100ms")


def test_a_question_after_a_hold_is_told_why_it_has_no_answer(talking):
    caller, callee = talking
    callee.verify_audio(440)
    caller.hold()
    wait("200ms")
    caller.resume()
    wait("200ms", caller, callee)
    with pytest.raises(AssertionError, match=r"heard nothing new.*records no more after a hold"):
        callee.verify_audio(440, within="500ms")


def test_a_closed_phone_waits_for_nothing(talking):
    caller, callee = talking
    caller.close()
    with pytest.raises(AssertionError, match="the call of agent anna is over already"):
        wait("5s", caller, callee)
    with pytest.raises(PhoneFailedError, match="agent anna has been closed"):
        caller.await_incoming()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"password": "a;b"}, "password: baresip takes none"),
        ({"password": 'a"b'}, "password: baresip takes none"),
        ({"transport": "sctp"}, 'transport=\'sctp\' is not known: give "udp" or "tcp"'),
        ({"username": "a@b"}, "username='a@b'"),
        ({"domain": "sip:pbx.example.com"}, "domain="),
        ({"display_name": 'A "B"'}, "display_name="),
    ],
)
def test_an_argument_that_a_phone_cannot_have_is_named(arguments, said):
    with pytest.raises(ValueError) as caught:
        Agent(**{"username": "101", "domain": "127.0.0.1", **arguments})
    assert said in str(caught.value)


def test_a_domain_that_nobody_knows_is_a_sentence():
    with pytest.raises(PhoneFailedError, match=r"domain='pbx\.invalid': the host pbx\.invalid is not known"):
        Agent("101", "pbx.invalid")


def test_a_registration_without_an_answer_is_a_sentence(callee):
    with pytest.raises(PhoneFailedError, match=r"agent bob cannot register at 127\.0\.0\.1: still not so after 50ms"):
        callee.register(within="50ms")
