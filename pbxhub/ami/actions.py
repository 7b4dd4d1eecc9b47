"""Every action the hub sends to an Asterisk is built here, and only the listed ones can be.

panoramisk writes values as they are: a CR LF inside a caller id would be a second action. So a value that could end
its line is refused before a byte is written, and so is a line longer than Asterisk's own buffer.
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
# what separates in the dialplan; the @ of a channel and of a caller id is theirs
_SEPARATORS: Mapping[str, str] = {
    "Channel": ",&;", "Exten": ",&@;", "Context": ",&@;", "CallerID": ",&;", "Variable": ",&;", "Account": ",&@;",
    "ChannelId": ",&@;", "OtherChannelId": ",&@;", "Queue": ",&@;", "Interface": ",&;",
}  # fmt: skip


class ActionRefusedError(ValueError):
    """An action that must not be sent. field names the header at fault; the text says what is wrong with it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


def build(name: str, headers: Mapping[str, str | Sequence[str]] | None = None) -> Action:
    """An action ready to send, with a fresh ActionID. Call it inside the event loop (the answer is a future of it).

    headers: a sequence repeats the header (Variable). Raises ActionRefusedError naming the field.
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
        checked["Async"] = "true"  # otherwise Asterisk reads nothing else of ours until the phone is answered
    return Action(checked)  # type: ignore[no-untyped-call]


def _check_dialplan(field: str, value: str | Sequence[str]) -> None:
    """Refuses what Asterisk would carry out (${SHELL()}, $[]) or read as more than one word."""
    for text in (value,) if isinstance(value, str) else value:
        if "${" in text or "$[" in text:
            raise ActionRefusedError(field, "an expression of the dialplan is not allowed here")
        if found := next((letter for letter in _SEPARATORS.get(field, "") if letter in text), ""):
            raise ActionRefusedError(field, f"{found} is not allowed here")
        if field == "Channel" and text.startswith("/"):
            raise ActionRefusedError(field, "a pattern is not allowed here, only one channel")


def _line(field: str, value: str) -> str:
    if any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in value):
        raise ActionRefusedError(field, "a line break or another control character is not allowed here")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ActionRefusedError(field, "half of a character (a lone surrogate) cannot be sent") from None
    if len(field) + 2 + size > _LONGEST_LINE:
        raise ActionRefusedError(field, f"{size} bytes are more than Asterisk reads in one line")
    return value
