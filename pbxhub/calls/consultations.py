"""Whom the transferer consulted before an attended transfer. The channels decide, because the numbers that the lines
show may be the company's, a name, `<unknown>` or `s`.

A REFER joins two lines of the transferer: one was dialled for the caller; the other dialled the consultation, or was
dialled by a colleague. With a feature code (*2) the transferer has one channel; the consultation is a Local channel
that nobody dialled, with a leg behind it.
"""

from dataclasses import dataclass

from pbxhub.calls.ami_events import AttendedTransfer
from pbxhub.calls.phone_numbers import dialled_number
from pbxhub.calls.state import Channel, TrackedCall

_NO_NUMBER = ("", "s")


@dataclass(frozen=True, slots=True)
class Consultation:
    """caller_line: the transferer's channel that the caller talked to. roots: the channels that the other line dialled,
    Local channels included. legs: the live phones behind them. party: the one consulted, when it is clear which.
    to: the destination as reported; empty when unknown.
    """

    caller_line: str
    roots: list[Channel]
    legs: list[Channel]
    party: Channel | None
    to: str

    def give_to_caller(self, call: TrackedCall) -> None:
        """From now on the caller counts as their dialler."""
        for root in self.roots:
            root.parent, root.hop = call.first, call.hop.number


def consultation_of(call: TrackedCall, message: AttendedTransfer) -> Consultation:
    caller_line, line = _lines(call, message)
    roots = _roots(call, caller_line, line)
    legs = [leg for leg in call.channels.values() if _is_consulted(call, leg, roots)]
    party = _party(call, message, legs, line)
    if party is not None:
        return Consultation(caller_line, roots, legs, party, party.number or _shown(call, message, swapped=False))
    dialled = next((dialled_number(root.name) for root in roots if root.local), "")
    swapped = caller_line != message.original.uniqueid
    return Consultation(
        caller_line, roots, legs, None, _shown(call, message, swapped) or dialled or _application(message)
    )


def _lines(call: TrackedCall, message: AttendedTransfer) -> tuple[str, str]:
    """The line with the caller and the line with the consultation."""
    one, other = message.original.uniqueid, message.second.uniqueid
    first, second = call.channels.get(one), call.channels.get(other)
    caller_is_second = second is not None and second.leg and not (first is not None and first.leg)
    if caller_is_second or (other == call.party and one != call.party):
        return other, one
    return one, other


def _roots(call: TrackedCall, caller_line: str, line: str) -> list[Channel]:
    live = [channel for channel in call.channels.values() if not channel.ended and channel.uniqueid != call.first]
    if line != caller_line:
        return [channel for channel in live if channel.parent == line]
    return [channel for channel in live if channel.local and channel is call.near_end(channel) and not channel.parent]


def _is_consulted(call: TrackedCall, leg: Channel, roots: list[Channel]) -> bool:
    if leg.plumbing or leg.ended or leg.uniqueid == call.first:
        return False
    for _ in range(10):
        if any(leg is root for root in roots):
            return True
        dialler = call.channels.get(leg.parent)
        if dialler is None:
            return False
        leg = call.near_end(dialler) if dialler.local else dialler
    return False


def _party(call: TrackedCall, message: AttendedTransfer, legs: list[Channel], line: str) -> Channel | None:
    """The channel that the event names; otherwise one that has answered, or the only one that rings; otherwise the one
    that called the transferer."""
    named = call.channels.get(message.target)
    if named is not None and not named.plumbing and named.uniqueid not in (call.first, call.party):
        return named
    answered = [leg for leg in legs if leg.answered]
    if answered or len(legs) == 1:
        return (answered or legs)[-1]
    caller = call.channels.get(call.channels[line].parent) if line in call.channels else None
    if not legs and caller is not None and not caller.plumbing and caller.uniqueid != call.first:
        return caller
    return None


def _shown(call: TrackedCall, message: AttendedTransfer, swapped: bool) -> str:
    """The number that the other line shows; after a three-way conversation it is the caller's."""
    number = message.original_connected if swapped else message.second_connected
    return "" if number in (*_NO_NUMBER, call.caller) else number


def _application(message: AttendedTransfer) -> str:
    """The number of the application that the other line called: music, a conference."""
    return "" if not message.to_application or message.second_exten in _NO_NUMBER else message.second_exten
