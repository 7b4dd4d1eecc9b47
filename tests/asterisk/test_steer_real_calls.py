"""A call waits on a real Asterisk, the hub asks a real receiver, the answer decides; the caller always gets somewhere.

55503NN asks webhook qNN; afterwards line 0 rings 101, line 1 (the default route of the dialplan) rings 102.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.questions import Question
from pbxhub.testing.hub.hub_process import Hub, SeenDelivery
from pbxhub.testing.pbx.asterisk import Asterisk
from pbxhub.testing.phones.sipp import answering_phone, place_calls
from pbxhub.testing.phones.softphone import Agent
from pbxhub.testing.processes import free_port
from pbxhub.testing.receivers.mock_answers import Answer, drip, hang, json_response, text_response
from pbxhub.testing.receivers.mock_server import MockServer
from pbxhub.testing.waiting import await_until
from tests.support.watch import Watch

pytestmark = pytest.mark.asterisk
Phone = Callable[..., Agent]


class Line:
    """A hub that answers this Asterisk, and a receiver that it asks."""

    def __init__(self, pbx: Asterisk, receiver: MockServer, hub: Hub) -> None:
        self.pbx, self.receiver, self.hub = pbx, receiver, hub
        self.pbx_id = hub.steer(pbx)
        self.address = hub.agi_address(self.pbx_id)
        self._count = 0

    def connect(self, address: str = "") -> None:
        self.pbx.cli(f"dialplan set global PBXHUB_AGI {address or self.address}")

    def ask(self, answer: Answer | int, url: str = "", save: object = None, **steering: object) -> str:
        """Sets up a webhook that answers so, and returns the DID that asks it."""
        self._count += 1
        name = f"q{self._count:02d}"
        self.receiver.respond("*", f"/{name}", answer)
        self.hub.webhook(
            "call.question", url or f"{self.receiver.url}/{name}", name=name, parameters=PARAMETERS,
            answer={"save": save or []}, steering={"wait": 2, "numbers": ["_1XX"], **steering},
        )  # fmt: skip
        return f"55503{self._count:02d}"

    def actions(self, *actions: object, **steering: object) -> str:
        return self.ask(json_response({"actions": list(actions)}), **steering)  # type: ignore[arg-type]

    def question(self, did: str) -> SeenDelivery:
        """The last question of the webhook behind that DID, once it is in the history."""

        def written() -> SeenDelivery:
            found = self.hub.deliveries(f"q{did[5:]}")
            assert found, "the question is not in the history"
            return found[-1]

        return await_until(written)

    def done(self, did: str, result: str = "") -> list[tuple[str, str]]:
        """Step and result of each step of that question, once the last one has a result that begins so."""

        def steps() -> list[tuple[str, str]]:
            with self.hub.database.read() as session:
                query = select(Question.steps).join(Delivery, Delivery.id == Question.delivery_id)
                found = session.scalars(query.where(Delivery.url.endswith(f"/q{did[5:]}")).order_by(Delivery.id)).all()
            listed = [(str(one["step"]), str(one["result"])) for one in found[-1]] if found else []
            assert listed, "no step is written"
            assert listed[-1][1] not in ("", "begun"), listed
            assert listed[-1][1].startswith(result), listed
            return listed

        return await_until(steps)


PARAMETERS = {
    "caller": "<<caller>>", "dst": "<<dst>>", "digits": "<<additional_number>>", "before": "<<webhook.status>>",
}  # fmt: skip


@pytest.fixture(scope="module")
def _line(running: Asterisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder: Path = tmp_path_factory.mktemp("hub")
    with MockServer() as receiver, Hub(folder) as hub:
        yield Line(running, receiver, hub.start())


@pytest.fixture
def line(_line: Line, pbx: Asterisk) -> Line:
    return _line


def asked(watch: Watch) -> dict[str, str]:
    """What the dialplan found in its variables after the question."""

    def told() -> dict[str, str]:
        blocks = [block for block in watch.stream.blocks if "UserEvent: Asked" in block]
        assert blocks, "the dialplan did not go on"
        return dict(re.findall(r"^(\w+): ?(.*)$", blocks[-1], re.MULTILINE))

    return await_until(told)


# --- what an answer can do


def test_an_answer_dials_and_the_call_is_told_as_ever(line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(103), outside("79161234567")
    did = line.actions({"type": "dial", "extension": "103", "timeout": 20, "caller_name": "Shop: Ann"})
    caller.dial(did)
    employee.accept()
    caller.await_established()
    assert "Shop: Ann" in str(employee.header("From"))
    caller.hangup()
    assert watch.story() == [
        f"incoming.before 79161234567 {did}", "incoming.forward ring 103", "incoming.pickup 103",
        "incoming.after ANSWERED",
    ]  # fmt: skip
    request = line.receiver.last_request(f"/q{did[5:]}")
    assert (request.json("caller"), request.json("dst")) == ("79161234567", did)
    assert line.done(did) == [("dial 103 for 20 s, shown as Shop: Ann", "until the call ended")]
    question = line.question(did)
    assert (question.state, question.outcome, question.attempts) == ("delivered", "ok", 1)
    assert question.linkedid == line.hub.calls()[-1].linkedid


def test_steps_after_a_dial_are_for_when_nobody_took_it(line: Line, phone: Phone, outside: Phone) -> None:
    busy, free, caller = phone(103), phone(104), outside()
    did = line.actions({"type": "dial", "extension": "103"}, {"type": "forward", "number": "104"})
    caller.dial(did)
    busy.await_incoming()
    busy.hangup()
    free.accept()
    caller.await_established()
    caller.hangup()
    assert line.done(did)[0] == ("dial 103 for 30 s", "BUSY")


def test_answer_play_say_set_music_and_hang_up_with_a_cause(line: Line, watch: Watch, outside: Phone) -> None:
    caller = outside()
    did = line.actions(
        {"type": "answer"}, {"type": "play", "file": "beep"}, {"type": "say", "digits": "12"},
        {"type": "say", "number": 7}, {"type": "set", "variables": {"manager": "Ann"}},
        {"type": "music", "seconds": 1}, {"type": "hangup", "cause": 21},
    )  # fmt: skip
    caller.dial(did)
    caller.await_established()
    caller.await_closed()
    assert [result for _, result in line.done(did)] == [
        "answered", "played", "said", "said", "set", "played", "hung up",
    ]  # fmt: skip


def test_hang_up_before_the_answer_tells_the_line_the_cause(line: Line, outside: Phone) -> None:
    caller = outside()
    caller.dial(line.actions({"type": "hangup", "cause": 17}))
    caller.await_closed()
    assert caller.status_code == 486


def test_read_digits_go_into_the_next_question(line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(103), outside()
    second = line.actions({"type": "dial", "number": "103"})
    did = line.actions(
        {"type": "answer"}, {"type": "read", "timeout": 5, "attempts": 2, "max_digits": 3},
        {"type": "ask", "webhook": f"q{second[5:]}"},
    )  # fmt: skip
    caller.dial(did)
    caller.await_established()
    await_until(lambda: line.receiver.last_request(f"/q{did[5:]}"))
    await_until(lambda: "GET DATA" in line.pbx.last_lines(400) or line.pbx.channels() == 1)
    caller.dtmf("123")
    employee.accept()
    request = line.receiver.last_request(f"/q{second[5:]}")
    assert (request.json("digits"), request.json("before")) == ("123", 200)
    caller.hangup()
    assert line.done(did)[1:] == [
        ("read up to 3 digits, 2 attempts of 5 s", "digits 123"),
        (f"ask q{second[5:]}", "asked"),
    ]

    def after() -> None:
        told = line.hub.stages(line.question(did).linkedid)
        assert [one.values.get("additional_number") for one in told if one.name == "incoming.after"] == ["123"]

    await_until(after)


def test_a_talk_in_a_queue_ends_the_call_and_not_in_the_default_route(line: Line, phone: Phone, outside: Phone) -> None:
    member, spared, caller = phone(101), phone(104), outside()
    did = line.actions({"type": "answer"}, {"type": "dial", "queue": "support", "timeout": 15}, default="104")
    caller.dial(did)
    member.accept()
    member.hangup()
    caller.await_closed()
    assert line.done(did)[1:] == [("queue support for 15 s", "CONTINUE")]
    assert spared.calls == []


def test_a_caller_transferred_out_of_a_queue_is_left_alone(line: Line, phone: Phone, outside: Phone) -> None:
    member, new, spared, caller = phone(101), phone(103), phone(104), outside()
    did = line.actions({"type": "answer"}, {"type": "dial", "queue": "support", "timeout": 15}, default="104")
    caller.dial(did)
    member.accept()
    caller.await_established()
    member.transfer("103")
    new.accept()
    caller.hangup()
    line.pbx.wait_idle()
    assert line.done(did)[1][1] in ("left the queue", "until the call ended")
    assert spared.calls == []


def test_a_queue_that_does_not_exist_takes_the_default_route(line: Line, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(104), outside()
    did = line.actions({"type": "answer"}, {"type": "dial", "queue": "nowhere"}, default="104")
    caller.dial(did)
    employee.accept()
    caller.hangup()
    assert line.done(did)[1][1] == "failed: this PBX has no queue nowhere"


def test_go_to_an_allowed_context(line: Line, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(103), outside()
    did = line.actions({"type": "goto", "context": "lab-sales"}, contexts=["lab-sales"])
    caller.dial(did)
    employee.accept()
    caller.hangup()
    assert line.done(did) == [("go to lab-sales,s,1", "sent there")]


def test_redirect_tells_the_caller_s_line_the_new_number(line: Line, outside: Phone) -> None:
    caller = outside()
    did = line.actions({"type": "redirect", "number": "104"})
    caller.dial(did)
    assert line.done(did) == [("redirect to 104", "redirected")]
    sent = [message for message in caller.trace if message.first_line.startswith("SIP/2.0 302")]
    assert "sip:104@" in str(sent[0].header("Contact"))


def test_voicemail_or_the_default_route_where_there_is_none(
    line: Line, watch: Watch, phone: Phone, outside: Phone
) -> None:
    employee, caller = phone(102), outside()
    did = line.actions({"type": "answer"}, {"type": "voicemail", "mailbox": "101@default"})
    caller.dial(did)
    employee.accept()
    assert "failed: this PBX has no " in line.done(did)[1][1]
    assert asked(watch)["Line"] == "1"


def test_an_answer_pauses_a_queue_member_and_ends_the_pause(line: Line, outside: Phone) -> None:
    caller = outside()
    pause = {"type": "pause", "member": "PJSIP/101", "queue": "support", "reason": "wrap up"}
    nobody = {"type": "unpause", "member": "PJSIP/999", "queue": "support"}
    did = line.actions(pause, nobody, {"type": "hangup"})
    caller.dial(did)
    assert line.done(did)[:2] == [
        ("pause PJSIP/101 in support", "PAUSED"),
        ("unpause PJSIP/999 in support", "NOTFOUND"),
    ]
    assert is_paused(line.pbx, "PJSIP/101")
    caller.await_closed()
    did = line.actions({"type": "unpause", "member": "PJSIP/101"}, {"type": "hangup"})
    caller.dial(did)
    assert line.done(did)[0] == ("unpause PJSIP/101 in all queues", "UNPAUSED")
    assert not is_paused(line.pbx, "PJSIP/101")


def is_paused(pbx: Asterisk, member: str) -> bool:
    lines = [line for line in pbx.cli("queue show support").splitlines() if member in line]
    assert len(lines) == 1, lines
    return "(paused" in lines[0]


def test_a_forwarding_number_is_the_body_or_a_key(line: Line, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(103), outside()
    plain = line.ask(text_response("103\n"), reads="number")
    named = line.ask(json_response({"manager": {"phone": "1-03"}}), reads="number", key="manager.phone")
    for did in (plain, named):
        caller.dial(did)
        employee.accept()
        caller.hangup()
        caller.await_closed()


def test_line_0_finds_the_result_in_variables(line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    save = [{"name": "manager", "path": "crm.manager"}]
    did = line.ask(json_response({"crm": {"manager": "Іван"}}), save=save, reads="variables")
    caller.dial(did)
    employee.accept()
    told = asked(watch)
    assert (told["Line"], told["Status"], told["Code"], told["Type"], told["Error"]) == (
        "0",
        "SUCCESS",
        "200",
        "Success",
        "false",
    )
    assert told["Manager"] == "Іван"
    assert 0 < float(told["Duration"]) < 2
    caller.hangup()

    def kept() -> None:
        with line.hub.database.read() as session:
            newest = session.scalars(select(Call).order_by(Call.id.desc())).first()
            assert newest is not None
            assert newest.answers.get("webhook.saved") == {"manager": "Іван"}
            assert newest.answers.get("response_status") == "SUCCESS"

    await_until(kept)


def test_music_while_the_caller_waits(line: Line, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    did = line.ask(drip(text_response("ok"), "400ms"), reads="variables", music="default", wait=5)
    caller.dial(did)
    employee.accept()
    assert any(message.first_line.startswith("SIP/2.0 183") for message in caller.trace)
    caller.hangup()


# --- what an answer cannot do


GARBAGE: dict[str, tuple[Answer | int, str]] = {
    "no JSON": (text_response("<h1>It works!</h1>"), "is not JSON"),
    "1 MB": (text_response('{"actions": [' + " " * 1_000_000), "is larger than 64 KB"),
    "wrong types": (json_response({"actions": [{"type": "dial", "number": 101}]}), "actions[0].number"),
    "unknown action": (json_response({"actions": [{"type": "system", "command": "id"}]}), "actions[0].type"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_takes_the_default_route(name: str, line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(102), outside()
    answer, reason = GARBAGE[name]
    did = line.ask(answer)
    caller.dial(did)
    employee.accept()
    caller.hangup()
    told = asked(watch)
    assert (told["Line"], told["Status"], told["Error"], told["Reason"]) == ("1", "FAILED", "true", "INVALID_RESPONSE")
    question = line.question(did)
    assert (question.state, question.outcome) == ("failed", "steering_refused")
    with line.hub.database.read() as session:
        message = session.scalars(select(Delivery.message).where(Delivery.url.endswith(f"/q{did[5:]}"))).one()
    assert reason in message


def test_a_sound_at_an_address_the_guard_refuses(line: Line, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(102), outside()
    did = line.actions({"type": "answer"}, {"type": "play", "url": "http://169.254.169.254/latest/a.wav"})
    caller.dial(did)
    employee.accept()
    caller.hangup()
    assert "not allowed to connect" in line.done(did)[1][1]
    did = line.actions({"type": "play", "url": f"http://127.0.0.1:{line.hub.agi_port}/a.wav"})
    caller.dial(did)
    employee.accept()
    caller.hangup()
    assert "not allowed to connect" in line.done(did)[0][1]


def test_a_sound_is_fetched_and_played(line: Line, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    line.receiver.respond("GET", "/hello.ulaw", text_response("\x7f" * 8000))
    did = line.actions({"type": "answer"}, {"type": "play", "url": f"{line.receiver.url}/hello.ulaw"})
    caller.dial(did)
    employee.accept()
    caller.hangup()
    assert line.done(did)[1][1] == "played"


def test_numbers_outside_the_dial_plan_go_to_the_default_number(line: Line, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(104), outside()
    for number in ("0900212345", "15550001", "201"):
        did = line.actions({"type": "dial", "number": number}, default="104")
        caller.dial(did)
        employee.accept()
        caller.hangup()
        caller.await_closed()
        assert line.question(did).outcome == "steering_refused"
        assert line.done(did) == [("dial 104 for 30 s", "until the call ended")]


def test_a_loop_to_itself_ends(line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(102), outside()
    did = line.actions({"type": "ask", "webhook": f"q{line._count + 1:02d}"})
    caller.dial(did)
    employee.accept()
    caller.hangup()
    assert line.receiver.request_count(f"/q{did[5:]}") == 10
    assert "looks like a loop" in asked(watch)["Sentence"]


def test_an_answer_after_the_deadline_is_not_obeyed(line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, obeyed, caller = phone(102), phone(103), outside()
    late = drip(json_response({"actions": [{"type": "dial", "number": "103"}]}), "200ms")
    did = line.ask(late, wait=1)
    caller.dial(did)
    employee.accept()
    assert asked(watch)["Reason"] == "TIMEOUT"
    assert obeyed.calls == []
    caller.hangup()
    assert line.question(did).outcome == "deadline"


@pytest.mark.parametrize("value", ["${SHELL(touch /tmp/x)}", "$[1+1]", "a,b&c@d;e"])
def test_hostile_values_are_quoted(value: str, line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    did = line.ask(json_response({"a": value}), save=[{"name": "manager", "path": "a"}], reads="variables")
    caller.dial(did)
    employee.accept()
    caller.hangup()
    told = asked(watch)
    assert told["Line"] == "0"
    assert not set("$,&@;") & set(told["Manager"])
    assert "%" in told["Manager"]


# --- when parts fail


@pytest.mark.parametrize("answer", [500, 404, hang()])
def test_a_receiver_that_fails_or_is_silent(
    answer: Answer | int, line: Line, watch: Watch, phone: Phone, outside: Phone
) -> None:
    employee, caller = phone(102), outside()
    caller.dial(line.ask(answer, wait=1))
    employee.accept()
    assert asked(watch)["Line"] == "1"
    caller.hangup()


def test_a_receiver_that_is_down(line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(102), outside()
    did = line.ask(200, url=f"http://127.0.0.1:{free_port()}/q{line._count + 1:02d}")
    caller.dial(did)
    employee.accept()
    assert asked(watch)["Reason"] == "CONNECTION_ERROR"
    caller.hangup()


def test_the_caller_hangs_up_while_waiting(line: Line, outside: Phone) -> None:
    caller = outside()
    did = line.ask(hang(), wait=3, music="default")  # the music is early media, so that the phone can cancel
    caller.dial(did)
    caller.await_ringing()
    caller.hangup()
    line.pbx.wait_idle()
    assert line.done(did) == [("none", "the caller hung up before the answer")]


def test_an_unknown_webhook_is_a_sentence(line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(102), outside()
    caller.dial("5550399")
    employee.accept()
    assert "has no enabled webhook" in asked(watch)["Sentence"]
    caller.hangup()


TWO_SECONDS = 6.0  # on a busy machine; without their limit, a caller would wait for a minute or for good


def _seconds_to_the_default_route(line: Line, employee: Agent, caller: Agent, did: str) -> float:
    began = time.monotonic()
    caller.dial(did)
    employee.await_incoming()
    took = time.monotonic() - began
    employee.accept()
    caller.hangup()
    caller.await_closed()
    return took


def test_no_hub_costs_two_seconds_at_most(line: Line, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(102), outside()
    did = line.actions({"type": "dial", "number": "103"})
    try:
        for address in ("agi://127.0.0.1:1/1/x", "agi://192.0.2.1:4573/1/x", line.address[:-3]):
            line.connect(address)
            assert _seconds_to_the_default_route(line, employee, caller, did) < TWO_SECONDS, address
    finally:
        line.connect()


def test_a_hub_that_hangs_costs_two_seconds(line: Line, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(102), outside()
    did = line.actions({"type": "dial", "number": "103"})
    os.kill(line.hub.pid, signal.SIGSTOP)
    try:
        assert _seconds_to_the_default_route(line, employee, caller, did) < TWO_SECONDS
    finally:
        os.kill(line.hub.pid, signal.SIGCONT)


def test_the_hub_is_killed_while_a_call_waits(line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(102), outside()
    did = line.ask(hang(), wait=30)
    caller.dial(did)
    await_until(lambda: line.receiver.last_request(f"/q{did[5:]}"))
    line.hub.kill()
    try:
        employee.accept("15s")  # the hub would have waited for 30
        told = asked(watch)
        assert (told["Line"], told["Error"], told["Reason"]) == ("1", "true", "CONNECTION_ERROR")
        assert told["Sentence"] == "The hub did not answer."
        caller.hangup()
    finally:
        line.hub.start()
        line.hub.await_connected(line.pbx_id)


def test_the_hub_is_killed_in_the_middle_of_a_plan(line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(102), outside()
    did = line.actions({"type": "answer"}, {"type": "music", "seconds": 3}, {"type": "dial", "number": "103"})
    caller.dial(did)
    caller.await_established()
    line.hub.kill()
    try:
        employee.accept()
        assert asked(watch)["Line"] == "1"
        caller.hangup()
    finally:
        line.hub.start()
        line.hub.await_connected(line.pbx_id)


def test_the_hub_is_killed_while_they_talk(line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, spared, caller = phone(103), phone(102), outside()
    caller.dial(line.actions({"type": "dial", "number": "103"}))
    employee.accept()
    caller.await_established()
    line.hub.kill()
    try:
        employee.hangup()
        assert asked(watch)["Line"] == "0"
        caller.await_closed()
        assert spared.calls == []
    finally:
        line.hub.start()
        line.hub.await_connected(line.pbx_id)


def test_a_limit_of_the_dialplan_s_own_ends_the_talk(line: Line, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(103), outside()
    did = line.actions({"type": "dial", "number": "103"})
    began = time.monotonic()
    caller.dial(did.replace("55503", "55505"))
    employee.accept()
    caller.await_closed()
    assert 2 < time.monotonic() - began < 20  # without the limit nobody would hang up


def test_without_a_hub_a_limit_of_the_dialplan_s_own_counts_too(
    line: Line, watch: Watch, phone: Phone, outside: Phone
) -> None:
    employee, caller = phone(102), outside()
    try:
        line.connect("agi://192.0.2.1:4573/1/x")
        caller.dial("5550501")
        employee.accept()

        def told() -> str:
            blocks = [block for block in watch.stream.blocks if "UserEvent: Limited" in block]
            assert blocks, "the dialplan did not go on"
            return blocks[-1]

        left = float(re.findall("^Left: (.*)$", await_until(told), re.MULTILINE)[0])
        assert 0 < left <= 3
        caller.await_closed("4s")
    finally:
        line.connect()


# --- the other subroutines


def test_a_mark_after_the_call_arrives_at_the_receiver(line: Line, watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    line.receiver.respond("*", "/mark", text_response("ok"))
    body = {"mark": "<<evaluation_mark>>", "category": "<<category_number>>"}
    line.hub.webhook("incoming.evaluation", f"{line.receiver.url}/mark", parameters=body)
    caller.dial("5550105")
    employee.accept()
    caller.await_established()
    employee.hangup()
    await_until(lambda: any("PBXHubEvaluationStart" in block for block in watch.stream.blocks))
    caller.dtmf("9")
    caller.dtmf("4")
    caller.await_closed()
    request = await_until(lambda: line.receiver.last_request("/mark"))
    assert (request.json("mark"), request.json("category")) == (4, "3")


def test_the_end_of_the_route_is_measured(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, caller = phone(101), outside()
    caller.dial("5550118")
    employee.await_incoming()
    employee.hangup()
    caller.await_closed()
    watch.story()
    after = watch.stages_so_far()[-1].values
    assert "486" in str(after["var.sip_status"])
    caller.dial("5550118")
    employee.accept()
    caller.await_established()
    employee.hangup()
    caller.await_closed()
    after = watch.calls(2)[1][-1].values
    assert float(str(after["var.rtp_loss"])) >= 0
    assert 0 <= float(str(after["var.rtp_jitter"])) < 1000
    assert "200" in str(after["var.sip_status"])


def test_a_member_is_paused_and_a_call_is_started(watch: Watch, phone: Phone, outside: Phone) -> None:
    employee, other, caller = phone(101), phone(102), outside()
    caller.dial("5550119")
    employee.accept()
    other.accept()
    said = "\n".join(watch.stream.blocks)
    assert "Status: PAUSED" in said
    assert "Status: UNPAUSED" in said
    employee.hangup()


# --- many at once


@pytest.mark.load
def test_a_hundred_calls_wait_three_seconds_each(line: Line, pbx: Asterisk) -> None:
    number = 100
    answer = json_response({"actions": [{"type": "dial", "number": "151", "timeout": 20}]})
    did = line.ask(answer, wait=10)
    name = f"/q{did[5:]}"

    def slowly(_: object) -> Answer:
        time.sleep(3)
        return answer

    line.receiver.on("*", name, slowly)
    where = pbx.network
    with (
        answering_phone(where.address(151)),
        place_calls(where.address(9), pbx.address, did, number, 50, 500, "38") as run,
    ):
        most = 0

        def all_wait() -> None:
            nonlocal most
            most = max(most, line.receiver.request_count(name))
            assert most == number

        await_until(all_wait, "20s")
        run.wait(60)
    assert line.receiver.request_count(name) == number
    assert {one.state for one in await_until(lambda: _all(line, did, number))} == {"delivered"}


def _all(line: Line, did: str, number: int) -> list[SeenDelivery]:
    found = line.hub.deliveries(f"q{did[5:]}")
    assert len(found) == number
    return found
