"""How a call ended, in Ringostat's words. The dialled legs decide, never the caller's own hangup cause."""

from collections.abc import Collection

from pbxhub.calls.state import Channel, TrackedCall

ANSWERED, BUSY, DECLINE, NO_ANSWER, FAILED = "ANSWERED", "BUSY", "DECLINE", "NO ANSWER", "FAILED"
NO_FORWARD = "NO-FORWARD"

# Dispositions that only the dialplan can know; it reports them by the UserEvent PBXHubDisposition.
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
"""The status of a leg that answered and then refused the call; Asterisk has no status for it."""

_CALL_REJECTED, _USER_BUSY = 21, 17
_UNREACHABLE = frozenset({1, 2, 3, 20, 27, 28, 34, 38, 41, 42})


def leg_outcome(leg: Channel) -> str:
    """The outcome of a leg. NOANSWER also covers SIP 603 and 404; the hangup cause distinguishes them."""
    if leg.answered:
        return ANSWERED
    if leg.cause == _CALL_REJECTED or leg.status == REFUSED:
        return DECLINE
    if leg.status == "BUSY" or (not leg.status and leg.cause == _USER_BUSY):
        return BUSY
    if leg.status == "CANCEL":  # its hangup cause comes from the caller, who has left
        return NO_ANSWER
    if leg.status in ("NOANSWER", ""):
        return FAILED if leg.cause in _UNREACHABLE else NO_ANSWER
    return FAILED


def disposition(call: TrackedCall) -> str:
    """The call's outcome: what the dialplan reported, otherwise ANSWERED, otherwise the outcome of its legs."""
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
