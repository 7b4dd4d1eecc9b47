"""Reads a webhook's answer about a waiting call: into a Plan, or a RefusedPlan with the field and the reason.

{"actions": [{"type": "answer"}, {"type": "dial", "extension": "101", "timeout": 20}, {"type": "hangup"}]}

The schema is strict. The whole answer is refused for an unknown action or field, a value out of range, or a text that a
dialplan could interpret: a partly understood answer never moves a caller.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pbxhub.json_reader import UnreadableError, read_json
from pbxhub.steering import actions
from pbxhub.steering.actions import Action
from pbxhub.steering.dialplan_text import MAILBOX, MEMBER, NAME, SOUND, VARIABLE, is_quoted
from pbxhub.steering.number_rules import NUMBER, Rules, plain_number

MOST_STEPS = 20  # of one answer
MOST_STEPS_OF_A_CALL = 50
MOST_QUESTIONS = 10  # of one call
_LARGEST = 64 * 1024
_NOT_QUOTED = 'has a character with a meaning in the dialplan; do not use % , ; & @ $ | " \\ and brackets'
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


_LAST = (actions.EndCall, actions.Redirect, actions.Goto, actions.AskWebhook)  # no action runs after one of these


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with the call, in this order."""

    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class RefusedPlan:
    """Why an answer is not carried out. path: the wrong field ("actions[1].number"), with a reason that continues it;
    "" for the whole answer, with a reason that is a sentence of its own."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


class _RefusedError(Exception):
    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.refusal = RefusedPlan(path, reason)


def read_plan(body: bytes, rules: Rules) -> Plan | RefusedPlan:
    """The plan in an answer {"actions": […]}. Never raises, whatever the body."""
    try:
        document = _read_json(body)
        if not isinstance(document, dict):
            raise _RefusedError("", 'The answer is not an object; give {"actions": [...]}.')
        if unknown := sorted(set(document) - {"actions"}):
            raise _RefusedError(unknown[0][:80], "is not a field here; the only field is actions")
        return Plan(_actions(document.get("actions"), rules))
    except _RefusedError as refused:
        return refused.refusal


def read_destination(body: bytes, key: str, rules: Rules, timeout: int) -> Plan | RefusedPlan:
    """The plan of an answer that is only a number to dial: the whole body, or one field of its JSON.

    key: the field, "destination" or "data.phone"; empty: the whole body is the number. timeout: seconds to ring.
    """
    try:
        number = plain_number(_named(_read_json(body), key) if key else _text(body))
        if reason := rules.refuses(number):
            raise _RefusedError(key, reason)
        return Plan((actions.Dial(number, timeout),))
    except _RefusedError as refused:
        return refused.refusal


def _read_json(body: bytes) -> Any:
    if len(body) >= _LARGEST:
        raise _RefusedError("", f"The answer is larger than {_LARGEST // 1024} KB.")
    try:
        return read_json(body)
    except UnreadableError as error:
        raise _RefusedError(error.path, error.sentence) from None


def _text(body: bytes) -> str:
    try:
        text = body[:200].decode().strip()
    except UnicodeDecodeError:
        text = ""
    if len(body) > 100 or not NUMBER.fullmatch(plain_number(text)):
        raise _RefusedError("", "The answer is not a phone number.")
    return text


def _named(document: Any, key: str) -> str:
    found = document
    for name in key.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)[:40] if abs(found) < 10**32 else "?"
    if not isinstance(found, str) or not found.strip():
        raise _RefusedError(key, "is missing: the answer names no destination")
    return found[:100]


def _actions(listed: Any, rules: Rules) -> tuple[Action, ...]:
    if not isinstance(listed, list):
        raise _RefusedError("actions", "is missing" if listed is None else "is not a list")
    if len(listed) > MOST_STEPS:
        raise _RefusedError("actions", f"has {len(listed)} steps; at most {MOST_STEPS} are done")
    found = tuple(_action(item, f"actions[{index}]", rules) for index, item in enumerate(listed))
    for index, action in enumerate(found[:-1]):
        if isinstance(action, _LAST):
            raise _RefusedError(f"actions[{index + 1}]", "would never run: the action before it ends the answer")
    return found


def _action(item: Any, path: str, rules: Rules) -> Action:
    if not isinstance(item, dict):
        raise _RefusedError(path, "is not an object with a type")
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in _READERS:
        raise _RefusedError(f"{path}.type", f"{str(kind)[:40]!r} is not an action; known are {', '.join(_READERS)}")
    fields = _Fields(item, path)
    action = _READERS[kind](fields, rules)
    fields.refuse_unknown()
    return action


class _Fields:
    """The fields of one action. Each is read once; a field that is never read is unknown and refused."""

    def __init__(self, data: Mapping[str, Any], path: str) -> None:
        self._data = data
        self._path = path
        self._taken = {"type"}

    def has(self, name: str) -> bool:
        return name in self._data

    def refuse(self, name: str, reason: str) -> _RefusedError:
        return _RefusedError(f"{self._path}.{name}", reason)

    def refuse_unknown(self) -> None:
        for name in self._data:
            if name not in self._taken:
                raise self.refuse(name[:80], "is not a field of this action")

    def take(self, name: str) -> Any:
        self._taken.add(name)
        return self._data.get(name)

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        value = self.take(name)
        if value is None and default is not None and name not in self._data:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.refuse(name, f"is not a whole number from {low} to {high}")
        return value

    def text(self, name: str, shape: re.Pattern[str], what: str, default: str | None = None) -> str:
        value = self.take(name)
        if value is None and default is not None and name not in self._data:
            return default
        if not isinstance(value, str) or not shape.fullmatch(value):
            raise self.refuse(name, f"is not {what}")
        return value

    def free(self, name: str, longest: int, default: str | None = None) -> str:
        """Text for people: any characters except control characters."""
        value = self.take(name)
        if value is None and default is not None and name not in self._data:
            return default
        if not isinstance(value, str) or len(value) > longest or _CONTROL.search(value):
            raise self.refuse(name, f"is not a text of up to {longest} characters")
        return value

    def number(self, name: str, rules: Rules) -> str:
        value = self.take(name)
        number = plain_number(value) if isinstance(value, str) and len(value) < 100 else ""
        if not NUMBER.fullmatch(number):
            raise self.refuse(name, "is not a phone number, given as a text")
        if reason := rules.refuses(number):
            raise self.refuse(name, reason)
        return number


def _dial(fields: _Fields, rules: Rules) -> Action:
    given = [name for name in ("number", "extension", "queue") if fields.has(name)]
    if len(given) != 1:
        raise fields.refuse("number", "give one of number, extension and queue")
    timeout = fields.whole("timeout", 1, 3600 if given == ["queue"] else 600, 30)
    shown = fields.free("caller_name", 80, "")
    if not is_quoted(shown):
        raise fields.refuse("caller_name", _NOT_QUOTED)
    if given == ["queue"]:
        return actions.EnterQueue(fields.text("queue", NAME, "the name of a queue"), timeout, shown)
    return actions.Dial(fields.number(given[0], rules), timeout, shown)


def _play(fields: _Fields, _: Rules) -> Action:
    if fields.has("file") == fields.has("url"):
        raise fields.refuse("file", "give either file or url")
    if fields.has("file"):
        return actions.Play(
            file=fields.text("file", SOUND, "the name of a sound without its ending, like custom/hello")
        )
    url = fields.free("url", 2000)
    try:
        parts = urlsplit(url)
        web = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        web = False
    if not web:
        raise fields.refuse("url", "is not a web address")
    return actions.Play(url=url)


def _say(fields: _Fields, _: Rules) -> Action:
    if fields.has("digits") == fields.has("number"):
        raise fields.refuse("digits", "give either digits or number")
    if fields.has("digits"):
        return actions.Say("digits", fields.text("digits", re.compile("[0-9*#]{1,32}"), "a text of up to 32 digits"))
    return actions.Say("number", str(fields.whole("number", 0, 999_999_999)))


def _set(fields: _Fields, _: Rules) -> Action:
    given = fields.take("variables")
    if not isinstance(given, dict) or not 1 <= len(given) <= 30:
        raise fields.refuse("variables", "is not an object of 1 to 30 variables")
    found = []
    for name, value in given.items():
        if not VARIABLE.fullmatch(name):
            raise fields.refuse(f"variables.{name[:60]}", "is not a name: Latin letters, digits and _")
        if not isinstance(value, str | int) or isinstance(value, bool) or len(text := str(value)[:501]) > 500:
            raise fields.refuse(f"variables.{name}", "is not a text of up to 500 characters or a whole number")
        found.append((name, text))
    return actions.SetVariables(tuple(found))


def _goto(fields: _Fields, rules: Rules) -> Action:
    context = fields.text("context", NAME, "the name of a context")
    if context not in rules.contexts:
        raise fields.refuse("context", f"{context} is not among the contexts that this webhook may choose")
    extension = fields.text("extension", re.compile(r"[A-Za-z0-9_+*#\-]{1,40}"), "an extension", "s")
    return actions.Goto(context, extension, fields.whole("priority", 1, 999, 1))


def _pause(fields: _Fields, paused: bool) -> Action:
    member = fields.text("member", MEMBER, "a queue member like PJSIP/101")
    queue = fields.text("queue", NAME, "the name of a queue", "")
    reason = fields.free("reason", 80, "") if paused else ""
    if not is_quoted(reason):
        raise fields.refuse("reason", _NOT_QUOTED)
    return actions.PauseMember(member, queue, paused, reason)


_READERS: Mapping[str, Callable[[_Fields, Rules], Action]] = {
    "answer": lambda fields, _: actions.AnswerCall(),
    "hangup": lambda fields, _: actions.EndCall(fields.whole("cause", 1, 127, 16)),
    "dial": _dial,
    "forward": _dial,
    "play": _play,
    "say": _say,
    "read": lambda fields, _: actions.ReadDigits(
        fields.text("file", SOUND, "the name of a sound without its ending", "beep"),
        fields.whole("timeout", 1, 60, 5),
        fields.whole("attempts", 1, 5, 1),
        fields.whole("max_digits", 1, 32, 1),
    ),
    "set": _set,
    "music": lambda fields, _: actions.Music(
        fields.text("class", NAME, "the name of a music class", "default"), fields.whole("seconds", 1, 3600, 30)
    ),
    "voicemail": lambda fields, _: actions.Voicemail(
        fields.text("mailbox", MAILBOX, "a mailbox like 101 or 101@default")
    ),
    "redirect": lambda fields, rules: actions.Redirect(fields.number("number", rules)),
    "goto": _goto,
    "pause": lambda fields, _: _pause(fields, True),
    "unpause": lambda fields, _: _pause(fields, False),
    "ask": lambda fields, _: actions.AskWebhook(fields.free("webhook", 200)),
}
