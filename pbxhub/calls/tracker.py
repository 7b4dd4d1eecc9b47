"""Messages in, stages of calls out.

A call (state.Call) is in LiveCalls from its first channel to its last. Each kind of message has one handler (the table
below): it finds the call by channel or linkedid, moves it to its next phase (phases.TABLE) and fires what follows.
tests/traces holds recordings of a real Asterisk with the stages that each must give.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pbxhub.calls import ami_events, annotations, arrivals, dialling, hangups, talks, transfers, user_events
from pbxhub.calls.ami_events import Message, Status
from pbxhub.calls.extensions import Extensions
from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.resync import Loss, take_stock
from pbxhub.calls.snapshot import load
from pbxhub.calls.stages import JSON, CallReport

LONGEST_SILENCE = 24 * 3600.0
MOST_CALLS = 20000


def _on_shutdown(live: LiveCalls, message: ami_events.Shutdown) -> None:
    """Asterisk sends Shutdown last: calls that have not hung up by then were cut off by it."""
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

    incoming_contexts: contexts of the trunks or patterns of them, the only thing an operator must set.
    endpoints: names of endpoints (without technology) on the cards of the employees -> their extension.
    own_numbers: the company's numbers, which a phone may show instead of its extension.
    optional: which of OPTIONAL_STAGES are reported.
    longest_silence: seconds without any event after which Asterisk is to be asked whether a call still lives; one of
    which it cannot be asked for as long again is taken for lost.
    most_calls: calls followed at once; beyond that the oldest is closed as expired.
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
        self._silent: dict[str, tuple[float, float]] = {}  # linkedid: its last event, and the sweep that first saw it

    def know_employees(self, endpoints: Mapping[str, str], own_numbers: Collection[str]) -> None:
        """The cards of the employees or the company's numbers have changed; channels that live keep their names."""
        self._live.extensions.set_cards(endpoints, own_numbers)

    def report_optional(self, stages: Collection[str]) -> None:
        """Which of OPTIONAL_STAGES are reported from now on."""
        self._live.optional = stages

    def expect_bridges(self) -> None:
        """BridgeEnter will come: already the first pickup waits for it. Otherwise from the first one that comes."""
        self._live.bridges.seen = True

    def feed(self, message: Message) -> list[CallReport]:
        """What one message changed: usually nothing, else one report per call. Never raises."""
        handle = _HANDLERS.get(type(message))
        if handle is None:  # FullyBooted, Status: the listener takes stock with resync()
            return []
        handle(self._live, message)
        return self._live.take()

    def sweep(self, now: datetime) -> list[CallReport]:
        """Closes calls of which nothing was heard for twice the longest silence, and nobody could ask; see expire().

        Call it now and then: silence counts from the first sweep that meets it, by the clock of the sweeps alone.
        That of the PBX may be years off.
        """
        moment, before = now.timestamp(), self._silent
        self._silent = {}
        for linkedid, last in self._live.last_events.items():
            seen, since = before.get(linkedid, (last, moment))
            self._silent[linkedid] = last, since if seen == last else moment
        self._expire(self.silent(now, 2 * self._longest_silence))
        return self._live.take()

    def silent(self, now: datetime, longest: float | None = None) -> list[str]:
        """The calls, by linkedid, of which nothing was heard for too long when sweep() looked last."""
        longest = self._longest_silence if longest is None else longest
        return [linkedid for linkedid, (_, since) in self._silent.items() if now.timestamp() - since > longest]

    def expire(self, channels: Sequence[Status], now: datetime) -> list[CallReport]:
        """What Asterisk answered when it was asked for its channels: a silent call that has none of them is over, since
        it was last heard of; of one that has, silence counts anew."""
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
        """Takes stock after a (re)connect: channels are all that live on the PBX now.

        Calls that are gone get their stage after with this reason, at `now` or, where the PBX was restarted, when it
        began again at the latest; calls that are new get what can be told of them; for known ones what happened
        meanwhile is made up for. Events that arrive while the answer to Status is still coming must be fed after this,
        in their order: feeding one twice or late does no harm.
        """
        gone_by = pbx_started_on if pbx_started_on and reason == "pbx_restarted" else now
        take_stock(self._live, channels, now.timestamp(), reason, gone_by.timestamp())
        return self._live.take()

    def restore(self, memories: Mapping[str, Mapping[str, JSON]], trunks: Iterable[str] = ()) -> None:
        """Goes on with calls of an earlier process exactly where it was: linkedid -> the last notes on those that live.

        trunks: endpoints known to lead outside, so that calls that came meanwhile are known for incoming ones.
        """
        for endpoint in trunks:
            self._live.learn_trunk(endpoint)
        calls = [call for notes in memories.values() if (call := load(notes)) is not None]
        absorbed = {alias for call in calls for alias in call.aliases}  # by a call whose notes were written first
        for call in sorted(calls, key=lambda call: call.started):
            if call.linkedid in absorbed:
                self._live.let_go(call.linkedid)
            elif not self._live.knows(call.linkedid):
                self._live.take_up(call)

    def notes(self) -> dict[str, dict[str, JSON]]:
        """What restore() needs of every call that has changed since its last report or the last time, by linkedid.

        Empty notes mean that the call is over: without a report when it was absorbed by another, or had no real
        channel. Nothing is here twice, and nothing when nothing has changed.
        """
        return self._live.notes()

    def all_notes(self) -> dict[str, dict[str, JSON]]:
        """The same of every call that lives, changed or not."""
        return self._live.all_notes()

    def rings(self, linkedid: str) -> bool:
        """Whether this call lives and has, or had, a real channel: then its end will be reported."""
        call = self._live.call_of(linkedid)
        return call is not None and call.real

    @property
    def live_calls(self) -> int:
        """How many calls live now."""
        return len(self._live)
