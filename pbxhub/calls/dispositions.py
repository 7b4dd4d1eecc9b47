"""How a call ended, in Ringostat's words, told from the legs dialled and never from the caller's own hangup cause."""

from collections.abc import Collection

from pbxhub.calls.state import Channel, TrackedCall

ANSWERED, BUSY, DECLINE, NO_ANSWER, FAILED = "ANSWERED", "BUSY", "DECLINE", "NO ANSWER", "FAILED"
NO_FORWARD = "NO-FORWARD"

# What only the dialplan can know; it says so by the UserEvent PBXHubDisposition.
OF_THE_DIALPLAN = frozenset(
    {
        "VOICEMAIL",
        "WRONG EXTENSION",
        "NO EXTENSION",
        "FAILED FORBIDDEN DESTINATION",
        "CLIENT NO ANSWER",
    }
)

REFUSED = "REFUSED"
"""The status of a leg that answered and refused what it was asked; Asterisk has none for it."""

_CALL_REJECTED, _USER_BUSY = 21, 17
_UNREACHABLE = frozenset({1, 2, 3, 20, 27, 28, 34, 38, 41, 42})


def leg_outcome(leg: Channel) -> str:
    """A leg's NOANSWER also covers 603 and 404; the cause of its hangup tells them apart."""
    if leg.answered:
        return ANSWERED
    if leg.cause == _CALL_REJECTED or leg.status == REFUSED:
        return DECLINE
    if leg.status == "BUSY" or (not leg.status and leg.cause == _USER_BUSY):
        return BUSY
    if leg.status == "CANCEL":  # its cause is the caller's, who has left
        return NO_ANSWER
    if leg.status in ("NOANSWER", ""):
        return FAILED if leg.cause in _UNREACHABLE else NO_ANSWER
    return FAILED


def disposition(call: TrackedCall) -> str:
    """The call's outcome: what the dialplan said, else ANSWERED, else what became of the legs."""
    if call.dialplan.disposition:
        return call.dialplan.disposition
    if call.answered:
        return ANSWERED
    return _unanswered({*call.statuses, *(leg_outcome(leg) for leg in deciding_legs(call))})


def deciding_legs(call: TrackedCall) -> list[Channel]:
    return [leg for leg in call.legs() if leg.outside or call.direction != "outgoing"]


def _unanswered(outcomes: Collection[str]) -> str:
    if not outcomes:
        return NO_FORWARD
    if DECLINE in outcomes:
        return DECLINE
    if set(outcomes) == {BUSY}:
        return BUSY
    return NO_ANSWER if NO_ANSWER in outcomes else FAILED
