"""Builds every action that the hub sends to Asterisk. Only the listed actions and headers are possible.

panoramisk writes values unchanged, so a CR LF inside a caller id would start a second action. A value that could end
its line is therefore refused before anything is written, as is a line longer than Asterisk's buffer.
"""

from collections.abc import Mapping, Sequence

from panoramisk.actions import Action

_LONGEST_LINE = 1000  # bytes; Asterisk drops a line over 1023

# action -> the headers it may carry
LISTED: Mapping[str, frozenset[str]] = {
    "Challenge": frozenset({"AuthType"}),
    "Login": frozenset({"Username", "Secret", "AuthType", "Key", "Events"}),
    "Filter": frozenset({"Operation", "Filter", "MatchCriteria"}),
    "CoreSettings": frozenset(),
    "CoreStatus": frozenset(),
    "Ping": frozenset(),
    "Status": frozenset({"Variables"}),
    "CoreShowChannels": frozenset(),
    "ParkedCalls": frozenset(),
    "Originate": frozenset(
        {
            "Channel",
            "Context",
            "Exten",
            "Priority",
            "CallerID",
            "Timeout",
            "Async",
            "Variable",
            "ChannelId",
            "OtherChannelId",
            "Account",
        }
    ),
    "Hangup": frozenset({"Channel", "Cause"}),
    "QueuePause": frozenset({"Queue", "Interface", "Paused", "Reason"}),
    "Logoff": frozenset(),
}


_DIALPLAN = frozenset({"Originate", "Hangup", "QueuePause"})
# characters that separate arguments in the dialplan; @ is legal in a channel and in a caller id
_SEPARATORS: Mapping[str, str] = {
    "Channel": ",&;", "Exten": ",&@;", "Context": ",&@;", "CallerID": ",&;", "Variable": ",&;", "Account": ",&@;",
    "ChannelId": ",&@;", "OtherChannelId": ",&@;", "Queue": ",&@;", "Interface": ",&;",
}  # fmt: skip


class ActionRefusedError(ValueError):
    """An action that must not be sent. field: the header at fault. The message says what is wrong with it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


def build(name: str, headers: Mapping[str, str | Sequence[str]] | None = None) -> Action:
    """An action ready to send, with a new ActionID. Call it inside the event loop, which owns the future of the answer.

    headers: a sequence repeats the header (Variable). Raises ActionRefusedError, which names the field.
    """
    if name not in LISTED:
        raise ActionRefusedError("Action", f"{name!r} is not an action the hub sends")
    checked: dict[str, str | list[str]] = {"Action": name}
    for field, value in (headers or {}).items():
        if field not in LISTED[name]:
            raise ActionRefusedError(field, f"not a header the hub sends with {name}")
        if name in _DIALPLAN:
            _check_dialplan(field, value)
        checked[field] = _line(field, value) if isinstance(value, str) else [_line(field, each) for each in value]
    if name == "Originate":
        checked["Async"] = "true"  # otherwise Asterisk reads no further action until the phone is answered
    return Action(checked)  # type: ignore[no-untyped-call]


def _check_dialplan(field: str, value: str | Sequence[str]) -> None:
    """Refuses what Asterisk would evaluate (${SHELL()}, $[]) or read as more than one argument."""
    for text in (value,) if isinstance(value, str) else value:
        if "${" in text or "$[" in text:
            raise ActionRefusedError(field, "a dialplan expression (${...} or $[...]) is not allowed here")
        if found := next((letter for letter in _SEPARATORS.get(field, "") if letter in text), ""):
            raise ActionRefusedError(field, f"{found} is not allowed here")
        if field == "Channel" and text.startswith("/"):
            raise ActionRefusedError(field, "a pattern is not allowed here; name one channel")


def _line(field: str, value: str) -> str:
    if any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in value):
        raise ActionRefusedError(field, "a line break or another control character is not allowed here")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ActionRefusedError(field, "contains an unpaired surrogate, which cannot be sent") from None
    if len(field) + 2 + size > _LONGEST_LINE:
        raise ActionRefusedError(field, f"has {size} bytes, more than Asterisk reads in one line")
    return value
