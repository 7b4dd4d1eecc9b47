"""Messages in, stages of calls out.

A call (state.TrackedCall) is in LiveCalls from its first channel to its last. Each kind of message has one handler (the
table below), which finds the call by channel or linkedid, moves it to its next phase (phases.TABLE) and fires its
stages. tests/traces has recordings of a real Asterisk with the stages that each must give.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pbxhub.calls import ami_events, annotations, arrivals, dialling, hangups, talks, transfers, user_events
from pbxhub.calls.ami_events import Message, Status
from pbxhub.calls.extensions import Extensions
from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.resync import Loss, take_stock, unknown_channels
from pbxhub.calls.snapshot import load
from pbxhub.calls.stages import JSON, CallReport

LONGEST_SILENCE = 24 * 3600.0
MOST_CALLS = 20000


def _on_shutdown(live: LiveCalls, message: ami_events.Shutdown) -> None:
    """Asterisk sends the hangups first and Shutdown last: calls still in progress by then were cut off."""
    for call in live.each():
        live.end(call, max(call.seen, message.time), "pbx_restarted")


_HANDLERS: Mapping[type, Callable[[LiveCalls, Any], None]] = {
    ami_events.Newchannel: arrivals.on_newchannel,
    ami_events.Newstate: arrivals.on_newstate,
    ami_events.DialBegin: dialling.on_dial_begin,
    ami_events.DialEnd: dialling.on_dial_end,
    ami_events.Bridge: talks.on_bridge,
    ami_events.HangupRequest: hangups.on_hangup_request,
    ami_events.Hangup: hangups.on_hangup,
    ami_events.FeatureKey: hangups.on_feature_key,
    ami_events.Cdr: hangups.on_cdr,
    ami_events.BlindTransfer: transfers.on_blind_transfer,
    ami_events.AttendedTransfer: transfers.on_attended_transfer,
    ami_events.Pickup: transfers.on_pickup,
    ami_events.ParkedCall: transfers.on_parked_call,
    ami_events.UnParkedCall: transfers.on_unparked_call,
    ami_events.Hold: annotations.on_hold,
    ami_events.QueueCaller: annotations.on_queue_caller,
    ami_events.MixMonitorStart: annotations.on_mix_monitor,
    ami_events.UserEvent: user_events.on_user_event,
    ami_events.Shutdown: _on_shutdown,
}


class Tracker:
    """Follows the calls of one PBX. Pure: time comes in with the messages, nothing is read or written.

    incoming_contexts: contexts of the trunks, or patterns; nothing else has to be configured.
    endpoints: endpoint names (without technology) from the employees' cards -> extension.
    own_numbers: the company's numbers, which a phone may show instead of its extension.
    optional: which of OPTIONAL_STAGES are reported.
    longest_silence: seconds without an event after which the hub asks Asterisk whether a call still exists. If Asterisk
    cannot be asked for as long again, the call counts as lost.
    most_calls: the most calls followed at once; beyond that the oldest ends as expired.
    """

    def __init__(
        self,
        incoming_contexts: Collection[str] = DEFAULT_INCOMING_CONTEXTS,
        longest_silence: float = LONGEST_SILENCE,
        most_calls: int = MOST_CALLS,
        endpoints: Mapping[str, str] = {},
        own_numbers: Collection[str] = (),
        optional: Collection[str] = (),
    ) -> None:
        self.incoming_contexts = incoming_contexts
        self._live = LiveCalls(incoming_contexts, Extensions(endpoints, own_numbers), most_calls)
        self._live.optional = optional
        self._longest_silence = longest_silence
        self._silent: dict[str, tuple[float, float]] = {}  # linkedid -> last event, sweep that first found it silent

    def know_employees(self, endpoints: Mapping[str, str], own_numbers: Collection[str]) -> None:
        """Takes over changed employees' cards and company numbers; live channels keep their extensions."""
        self._live.extensions.set_cards(endpoints, own_numbers)

    def report_optional(self, stages: Collection[str]) -> None:
        """Which of OPTIONAL_STAGES are reported from now on."""
        self._live.optional = stages

    def expect_bridges(self) -> None:
        """Says that this PBX sends BridgeEnter, so that even the first pickup waits for it. Without this, pickups wait
        only after the first BridgeEnter has arrived."""
        self._live.bridges.seen = True

    def feed(self, message: Message) -> list[CallReport]:
        """Processes one message. Returns one report per changed call, usually none. Never raises."""
        handle = _HANDLERS.get(type(message))
        if handle is None:  # FullyBooted, Status: the listener calls resync()
            return []
        handle(self._live, message)
        return self._live.take()

    def sweep(self, now: datetime) -> list[CallReport]:
        """Ends calls without any event for twice longest_silence, when Asterisk could not be asked; see expire().

        Call it regularly: silence is measured from the first sweep that finds it, by `now` alone, because the PBX's
        clock may be years off.
        """
        moment, before = now.timestamp(), self._silent
        self._silent = {}
        for linkedid, last in self._live.last_events.items():
            seen, since = before.get(linkedid, (last, moment))
            self._silent[linkedid] = last, since if seen == last else moment
        self._expire(self.silent(now, 2 * self._longest_silence))
        return self._live.take()

    def silent(self, now: datetime, longest: float | None = None) -> list[str]:
        """The linkedids of calls without an event for too long at the last sweep()."""
        longest = self._longest_silence if longest is None else longest
        return [linkedid for linkedid, (_, since) in self._silent.items() if now.timestamp() - since > longest]

    def expire(self, channels: Sequence[Status], now: datetime) -> list[CallReport]:
        """Takes Asterisk's list of live channels: a silent call with none of them ended at its last event; for a silent
        call with one of them, the silence starts again."""
        moment = now.timestamp()
        living = {status.channel.linkedid for status in channels} | {status.channel.uniqueid for status in channels}
        for linkedid in self.silent(now):
            if not living.isdisjoint(self._live.names_of(linkedid)):
                self._silent[linkedid] = self._silent[linkedid][0], moment
        self._expire(self.silent(now))
        return self._live.take()

    def _expire(self, linkedids: Sequence[str]) -> None:
        for linkedid in linkedids:
            last, _ = self._silent.pop(linkedid)
            call = self._live.call_of(linkedid)
            if call is not None and call.seen == last:
                self._live.end(call, call.seen, "expired")

    def resync(
        self, channels: Sequence[Status], now: datetime, reason: Loss, pbx_started_on: datetime | None = None
    ) -> list[CallReport]:
        """Compares the calls in progress with `channels`, every live channel of the PBX, after a (re)connect.

        A call that is gone gets its stage after with this reason; it ended at `now`, or at pbx_started_on when the PBX
        was restarted. A new call gets the stages that can be known; a known call gets those that it missed.

        The order of events: 1. Asterisk answers Status; 2. events of the same moment arrive around the answer;
        3. ami/channel_list.py sorts them. Feed those that come after the list after this call, in their order; feeding
        one twice or late does no harm.
        """
        gone_by = pbx_started_on if pbx_started_on and reason == "pbx_restarted" else now
        take_stock(self._live, channels, now.timestamp(), reason, gone_by.timestamp())
        return self._live.take()

    def unknown(self, channels: Sequence[Status]) -> list[Status]:
        """Those of the live channels whose calls are not followed, without the logins of agents and plumbing."""
        return unknown_channels(self._live, channels)

    def channels(self) -> frozenset[str]:
        """The uniqueids of the channels of the calls in progress."""
        return frozenset(uniqueid for call in self._live.each() for uniqueid in call.channels)

    def knows(self, names: Iterable[str]) -> bool:
        """Whether one of these is the linkedid, or the uniqueid of a channel, of a call that is or was followed."""
        live = self._live
        return any(live.knows(name) or live.holds(name) or live.is_gone(name) for name in names)

    def restore(self, memories: Mapping[str, Mapping[str, JSON]], trunks: Iterable[str] = ()) -> None:
        """Continues the calls of an earlier process where it stopped. memories: linkedid -> last notes of each call.

        trunks: endpoints known to lead outside, so that calls that began meanwhile are recognised as incoming.
        """
        for endpoint in trunks:
            self._live.learn_trunk(endpoint)
        calls = [call for notes in memories.values() if (call := load(notes)) is not None]
        absorbed = {alias for call in calls for alias in call.aliases}  # by a call that was written before these went
        for call in sorted(calls, key=lambda call: call.started):
            if call.linkedid in absorbed:
                self._live.let_go(call.linkedid)
            elif not self._live.knows(call.linkedid):
                self._live.take_up(call)

    def notes(self) -> dict[str, dict[str, JSON]]:
        """What restore() needs of every call that has changed since its last report or the last notes(), by linkedid.

        Empty notes: the call is over, without a report when another call absorbed it or it had no real channel.
        """
        return self._live.notes()

    def all_notes(self) -> dict[str, dict[str, JSON]]:
        """The notes of every call in progress, changed or not."""
        return self._live.all_notes()

    def rings(self, linkedid: str) -> bool:
        """Whether this call is in progress and has, or had, a real channel, so that its end will be reported."""
        call = self._live.call_of(linkedid)
        return call is not None and call.real

    @property
    def trunks(self) -> tuple[str, ...]:
        """The endpoints known to lead outside: restored ones, and those of incoming calls since then."""
        return tuple(self._live.trunks)

    @property
    def live_calls(self) -> int:
        """How many calls are in progress."""
        return len(self._live)
