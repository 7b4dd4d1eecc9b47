"""The phases of a call, as one table: nothing else changes the phase of a call.

A handler reports what happened (a moment) with TrackedCall.move(). A moment without an entry for the current phase
changes nothing, and the handler then does nothing either: an odd, late or repeated event does no harm.
"""

from collections.abc import Mapping
from typing import Literal, get_args

Phase = Literal["begun", "arrived", "ringing", "talking", "sent_on", "over"]
Moment = Literal["arrives", "departs", "stays_inside", "rings", "is_answered", "is_sent_on", "is_over"]
PHASES = frozenset(get_args(Phase))

TABLE: Mapping[Phase, Mapping[Moment, Phase]] = {
    # The first channel is here; which way the call goes is open.
    # Enters: Newchannel, or a channel found when the channels are read after a (re)connect.
    "begun": {
        "arrives": "arrived", "departs": "ringing", "stays_inside": "begun", "rings": "ringing",
        "is_answered": "talking", "is_over": "over",
    },
    # Incoming, nobody has been dialled: IVR, queue without members, voicemail.
    # Enters: the first channel is in an incoming context and in state Ring, or UserEvent PBXHubDirection.
    "arrived": {"rings": "ringing", "is_answered": "talking", "is_sent_on": "sent_on", "is_over": "over"},
    # Somebody's phone rings. A call inside may still turn out to be one that goes out.
    # Enters: DialBegin of a leg of the call's own.
    "ringing": {
        "arrives": "ringing", "departs": "ringing", "stays_inside": "ringing", "rings": "ringing",
        "is_answered": "talking", "is_sent_on": "sent_on", "is_over": "over",
    },
    # Two parties talk.
    # Enters: DialEnd ANSWER, UnParkedCall, AttendedTransfer to a party that has answered, UserEvent PBXHubPickup.
    # Leaves: the employee sends the caller on, or the last real channel hangs up.
    "talking": {
        "arrives": "talking", "departs": "ringing", "stays_inside": "talking", "rings": "talking",
        "is_answered": "talking", "is_sent_on": "sent_on", "is_over": "over",
    },
    # On the way to somebody new, who has not answered yet.
    # Enters: BlindTransfer, AttendedTransfer, ParkedCall, a diversion (302), a redirect, UserEvent PBXHubForward.
    "sent_on": {
        "departs": "ringing", "rings": "sent_on", "is_answered": "talking", "is_sent_on": "sent_on", "is_over": "over",
    },
    # The conversation part has ended, incoming.after or outgoing.after has fired. The caller may still be in the menu
    # that asks for a mark; the last Hangup takes the call out of LiveCalls.
    # Enters: the last real Hangup, UserEvent PBXHubEvaluationStart, or the call was found gone.
    "over": {},
}  # fmt: skip
