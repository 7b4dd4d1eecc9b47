"""An answer says what to do with a waiting call: it is understood whole, or refused with the field and the reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxhub.steering.actions import AnswerCall, Dial, EndCall, EnterQueue, PauseMember, ReadDigits, SetVariables
from pbxhub.steering.answer import MOST_STEPS, Plan, RefusedPlan, read_destination, read_plan
from pbxhub.steering.dialplan_text import quote
from pbxhub.steering.number_rules import Rules

RULES = Rules(("_1XX", "_380XXXXXXXXX", "_0900X."), ("sales",), frozenset({"190"}), "UA")


def plan(*actions: Any, rules: Rules = RULES) -> Plan | RefusedPlan:
    return read_plan(json.dumps({"actions": actions}).encode(), rules)


def refused(*actions: Any, rules: Rules = RULES) -> str:
    found = plan(*actions, rules=rules)
    assert isinstance(found, RefusedPlan), found
    return str(found)


def test_an_answer_with_every_action_becomes_its_steps() -> None:
    found = plan(
        {"type": "answer"},
        {"type": "play", "file": "custom/hello"},
        {"type": "play", "url": "https://example.com/a.wav"},
        {"type": "say", "digits": "12*#"},
        {"type": "say", "number": 42},
        {"type": "read", "file": "beep", "timeout": 3, "attempts": 2, "max_digits": 4},
        {"type": "set", "variables": {"manager": "Ann", "level": 3}},
        {"type": "music", "class": "jazz", "seconds": 5},
        {"type": "dial", "extension": "101", "timeout": 20, "caller_name": "Shop: Ann"},
        {"type": "forward", "number": "+38 (044) 123-45-67".replace("+", "")},
        {"type": "dial", "queue": "sales"},
        {"type": "voicemail", "mailbox": "101@default"},
        {"type": "pause", "member": "PJSIP/101", "queue": "support", "reason": "lunch"},
        {"type": "unpause", "member": "Local/101@from-queue/n"},
        {"type": "goto", "context": "sales", "extension": "s"},
    )
    assert isinstance(found, Plan)
    assert found.actions[0] == AnswerCall()
    assert found.actions[5] == ReadDigits("beep", 3, 2, 4)
    assert found.actions[6] == SetVariables((("manager", "Ann"), ("level", "3")))
    assert found.actions[8:11] == (Dial("101", 20, "Shop: Ann"), Dial("380441234567", 30), EnterQueue("sales", 30))
    assert found.actions[-3:-1] == (
        PauseMember("PJSIP/101", "support", True, "lunch"),
        PauseMember("Local/101@from-queue/n", "", False),
    )
    assert [str(one) for one in found.actions[-3:]] == [
        "pause PJSIP/101 in support",
        "unpause Local/101@from-queue/n in all queues",
        "go to sales,s,1",
    ]
    last = [plan({"type": "hangup", "cause": 21}), plan({"type": "redirect", "number": "101"})]
    assert [str(one.actions[0]) for one in last if isinstance(one, Plan)] == [
        "hang up with cause 21",
        "redirect to 101",
    ]
    assert str(plan({"type": "ask", "webhook": "Другой"})).endswith("AskWebhook(webhook='Другой'),))")


def test_the_answer_of_the_documentation_answers_and_hangs_up() -> None:
    assert plan({"type": "answer"}, {"type": "hangup"}) == Plan((AnswerCall(), EndCall(16)))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "This is not JSON: see line 1, column 1."),
        (b"<html>", "This is not JSON: see line 1, column 1."),
        (b"\xff\xfe\x00", "This is not JSON: the text is not UTF-8."),
        (b"[" * 100_000, "The answer is larger than 64 KB."),
        (b"[" * 30_000 + b"]" * 30_000, "The JSON is nested deeper than 100 levels."),
        (b" " * 1_000_000, "The answer is larger than 64 KB."),
        (b"[]", "The answer is not an object"),
        (b"null", "The answer is not an object"),
        (b'{"actions": [{"type": "hangup", "cause": 1e400}]}', "1e400 is too large for a number."),
        (b"{}", "actions: is missing"),
        (b'{"actions": "hangup"}', "actions: is not a list"),
        (b'{"actions": [], "now": 1}', "now: is not a field here"),
        (b'{"actions": ["hangup"]}', "actions[0]: is not an object"),
        (b'{"actions": [{}]}', "actions[0].type: 'None' is not an action"),
        (b'{"actions": [{"type": ["answer"]}]}', "actions[0].type"),
        (b'{"actions": [{"type": "system", "command": "id"}]}', "actions[0].type: 'system' is not an action"),
    ],
)
def test_what_is_not_the_schema_is_refused(body: bytes, reason: str) -> None:
    found = read_plan(body, RULES)
    assert isinstance(found, RefusedPlan)
    assert str(found).startswith(reason)


@pytest.mark.parametrize(
    ("action", "path"),
    [
        ({"type": "hangup", "cause": "16"}, "cause"),
        ({"type": "hangup", "cause": True}, "cause"),
        ({"type": "hangup", "cause": 1.5}, "cause"),
        ({"type": "hangup", "why": "x"}, "why"),
        ({"type": "dial"}, "number"),
        ({"type": "dial", "number": "101", "queue": "a"}, "number"),
        ({"type": "dial", "number": 101}, "number"),
        ({"type": "dial", "number": None}, "number"),
        ({"type": "dial", "number": "101", "timeout": 0}, "timeout"),
        ({"type": "dial", "number": "101", "timeout": None}, "timeout"),
        ({"type": "play"}, "file"),
        ({"type": "play", "file": "../../etc/passwd"}, "file"),
        ({"type": "play", "file": "/etc/passwd"}, "file"),
        ({"type": "play", "url": "file:///etc/passwd"}, "url"),
        ({"type": "play", "url": "http://[::1"}, "url"),
        ({"type": "say", "digits": "12", "number": 1}, "digits"),
        ({"type": "read", "max_digits": 100}, "max_digits"),
        ({"type": "set", "variables": {}}, "variables"),
        ({"type": "set", "variables": {"A": []}}, "variables.A"),
        ({"type": "voicemail", "mailbox": "101,s"}, "mailbox"),
        ({"type": "goto", "context": "from-internal", "extension": "101"}, "context"),
        ({"type": "music", "class": "a b"}, "class"),
        ({"type": "pause"}, "member"),
        ({"type": "pause", "member": "101"}, "member"),
        ({"type": "pause", "member": "PJSIP/101", "queue": "a,b"}, "queue"),
        ({"type": "pause", "member": "PJSIP/101", "reason": "a,b"}, "reason"),
        ({"type": "unpause", "member": "PJSIP/101", "reason": "x"}, "reason"),
    ],
)
def test_a_wrong_field_is_named(action: Any, path: str) -> None:
    assert refused({"type": "answer"}, action).startswith(f"actions[1].{path}: ")


def test_only_allowed_numbers_are_dialled() -> None:
    assert "not among the numbers" in refused({"type": "dial", "number": "201"})
    assert "not among the numbers" in refused({"type": "dial", "number": "+380441234567"})
    assert "not among the numbers" in refused({"type": "redirect", "number": "79161234567"})
    assert "that would be a loop" in refused({"type": "dial", "number": "190"})
    assert "premium-rate" in refused({"type": "dial", "number": "0900212345"})
    assert "not among" in refused({"type": "dial", "number": "101"}, rules=Rules(()))
    exact = Rules(("0900212345",), country="UA")
    assert plan({"type": "dial", "number": "0900212345"}, rules=exact) == Plan((Dial("0900212345", 30),))


def test_more_steps_than_allowed_and_steps_after_the_end() -> None:
    assert "at most 20" in refused(*[{"type": "answer"}] * (MOST_STEPS + 1))
    assert "would never run" in refused({"type": "hangup"}, {"type": "answer"})
    assert "would never run" in refused({"type": "ask", "webhook": "a"}, {"type": "ask", "webhook": "b"})


def test_two_answers_in_one_are_refused() -> None:
    body = b'{"actions": [{"type": "answer"}], "actions": [{"type": "hangup"}]}'
    assert str(read_plan(body, RULES)) == "actions: contains the same field twice"
    body = b'{"actions": [{"type": "answer"}]}{"actions": [{"type": "hangup"}]}'
    assert str(read_plan(body, RULES)) == "This is not JSON: see line 1, column 34."


HOSTILE = ("101,s,1", "101&102", "101@from-internal", "101;rm", "${SHELL(id)}", "$[1+1]", "1\n01", "101\r\n", "١٠١")


@pytest.mark.parametrize("value", HOSTILE)
def test_no_field_that_reaches_the_dialplan_takes_its_syntax(value: str) -> None:
    fields = [
        {"type": "dial", "number": value},
        {"type": "dial", "extension": value},
        {"type": "dial", "queue": value},
        {"type": "redirect", "number": value},
        {"type": "play", "file": value},
        {"type": "say", "digits": value},
        {"type": "read", "file": value},
        {"type": "music", "class": value},
        {"type": "voicemail", "mailbox": value + "@"},
        {"type": "goto", "context": value},
        {"type": "goto", "context": "sales", "extension": value},
        {"type": "set", "variables": {value: "1"}},
        {"type": "pause", "member": value},
        {"type": "pause", "member": "PJSIP/101", "queue": value},
    ]
    rules = Rules((*HOSTILE, "_X."), (*HOSTILE, "sales"))
    for action in fields:
        assert isinstance(plan(action, rules=rules), RefusedPlan), action


@pytest.mark.slow
@given(st.text())
def test_a_quoted_text_has_nothing_for_the_dialplan_and_comes_back(text: str) -> None:
    from urllib.parse import unquote

    quoted = quote(text)
    assert not set(quoted) & set(',&@;$"\\|()[]{}\r\n\0')
    assert unquote(quoted) == text


@given(st.binary(max_size=300))
def test_no_answer_ever_raises(body: bytes) -> None:
    assert isinstance(read_plan(body, RULES), RefusedPlan | Plan)
    assert isinstance(read_destination(body, "", RULES, 30), RefusedPlan | Plan)
    assert isinstance(read_destination(body, "a.b", RULES, 30), RefusedPlan | Plan)


def test_a_forwarding_number_is_the_body_or_a_key_of_it() -> None:
    assert read_destination(b" 101\r\n", "", RULES, 20) == Plan((Dial("101", 20),))
    assert read_destination(b"38 (044) 123-45-67", "", RULES, 20) == Plan((Dial("380441234567", 20),))
    assert read_destination(b'{"manager": "101"}', "manager", RULES, 20) == Plan((Dial("101", 20),))
    assert read_destination(b'{"data": {"phone": 380441234567}}', "data.phone", RULES, 20) == Plan(
        (Dial("380441234567", 20),)
    )


@pytest.mark.parametrize(
    ("body", "key", "reason"),
    [
        (b"", "", "The answer is not a phone number."),
        (b"sorry", "", "The answer is not a phone number."),
        (b"101" * 100, "", "The answer is not a phone number."),
        (b'{"manager": ""}', "manager", "manager: is missing"),
        (b'{"manager": null}', "manager", "manager: is missing"),
        (b'{"manager": true}', "manager", "manager: is missing"),
        (b'{"manager": ["101"]}', "manager", "manager: is missing"),
        (b'{"other": "101"}', "manager", "manager: is missing"),
        (b'{"manager": "101@x"}', "manager", "manager: is not a phone number"),
        (b'{"manager": "79161234567"}', "manager", "manager: 79161234567 is not among"),
        (b"101", "manager", "manager: is missing"),
    ],
)
def test_an_answer_without_a_number_is_refused(body: bytes, key: str, reason: str) -> None:
    assert str(read_destination(body, key, RULES, 20)).startswith(reason)
