"""The calls in progress, found by linkedid or channel. Stages are fired and calls are ended here.

Handlers get calls only from LiveCalls, which marks every call it hands out as changed: a restarted hub therefore
continues from a snapshot that has every change.

A channel belongs to one call and stays in the index as long as its call keeps it. Everything is bounded: calls, ended
channels of a call, stages of a call, and ended calls that are remembered. No limit rejects a live channel: a ring group
of 300 phones behind Local channels has 900.
"""

from collections.abc import Collection, Mapping
from itertools import islice

from pbxhub.calls.ami_events import Party
from pbxhub.calls.bridges import Bridges
from pbxhub.calls.directions import UNSETTLED
from pbxhub.calls.dispositions import disposition, leg_outcome
from pbxhub.calls.extensions import Extensions, endpoint_of
from pbxhub.calls.incoming_contexts import IncomingContexts
from pbxhub.calls.phone_numbers import dialled_number
from pbxhub.calls.snapshot import dump, published_key
from pbxhub.calls.stages import JSON, OPTIONAL_STAGES, CallReport, Direction, Stage, Value
from pbxhub.calls.state import Channel, EndReason, StageKey, TrackedCall
from pbxhub.calls.values import moment, values_of

MOST_ENDED = 64  # ended channels kept for the outcome of their call
MOST_LIVE = 10_000  # channels of one call; no Asterisk has more, so the hangups of some must have been missed
MOST_ALIASES = 16
MOST_STAGES = 2000
MOST_GONE = 5000
MOST_TRUNKS = 1000

_OPTIONAL = frozenset(OPTIONAL_STAGES)
_RANK: Mapping[Direction | None, int] = {"incoming": 2, "outgoing": 1, "internal": 0, None: 0}
"""When two calls merge, the one with the higher rank continues. 0: the call has no stages."""


class LiveCalls:
    """incoming: contexts in which calls from outside arrive. most_calls: the most calls followed at once.

    trunks: endpoints seen in those contexts; they identify an outside channel that has moved on in the dialplan.
    """

    def __init__(self, incoming: Collection[str], extensions: Extensions, most_calls: int) -> None:
        self.incoming = IncomingContexts(incoming)
        self.extensions = extensions
        self.bridges = Bridges()
        self.optional: Collection[str] = ()  # which of OPTIONAL_STAGES are reported
        self.trunks: dict[str, None] = {}
        self._calls: dict[str, TrackedCall] = {}
        self._by_channel: dict[str, TrackedCall] = {}
        self._by_alias: dict[str, TrackedCall] = {}
        self._most_calls = most_calls
        self._gone: dict[str, None] = {}
        self._touched: dict[str, None] = {}  # linkedids of the calls handed out since their last snapshot
        self._changed: dict[str, tuple[TrackedCall, list[Stage]]] = {}
        self._reports: list[CallReport] = []

    def learn_trunk(self, endpoint: str) -> None:
        """Remembers an endpoint that leads outside. When there are too many, the one learnt first is forgotten."""
        if endpoint and endpoint not in self.trunks:
            self.trunks[endpoint] = None
            if len(self.trunks) > MOST_TRUNKS:
                del self.trunks[next(iter(self.trunks))]

    def begin(self, call: TrackedCall) -> TrackedCall:
        """Follows one more call. When there are too many, the oldest ends as expired."""
        if len(self._calls) >= self._most_calls:
            oldest = next(iter(self._calls.values()))
            self.end(oldest, oldest.seen, "expired")
        self._calls[call.linkedid] = call
        self._touched[call.linkedid] = None
        return call

    def take_up(self, call: TrackedCall) -> None:
        """Continues a call of an earlier process, and learns its channels, trunks and bridges again."""
        self.begin(call)
        self._by_alias |= dict.fromkeys(call.aliases, call)
        call.channels = {
            name: channel for name, channel in call.channels.items() if channel.lent or name not in self._by_channel
        }
        call.real = call.real or any(not channel.plumbing for channel in call.channels.values())
        self._by_channel |= dict.fromkeys(_own(call), call)
        for channel in call.channels.values():
            self.bridges.seen = self.bridges.seen or channel.bridged
            if channel.bridge and not channel.ended:
                self.bridges.enter(channel.uniqueid, channel.bridge)
            if channel.outside and not channel.plumbing:
                self.learn_trunk(endpoint_of(channel.name))

    def of_channel(self, uniqueid: str) -> TrackedCall | None:
        """The call that has this channel."""
        return self._hand_out(self._by_channel.get(uniqueid))

    def call_of(self, linkedid: str) -> TrackedCall | None:
        """The call that is, or was, known by this linkedid."""
        return self._hand_out(self._calls.get(linkedid) or self._by_alias.get(linkedid))

    def each(self) -> list[TrackedCall]:
        """All calls in progress; each counts as changed."""
        self._touched |= dict.fromkeys(self._calls)
        return list(self._calls.values())

    def _hand_out(self, call: TrackedCall | None) -> TrackedCall | None:
        if call is not None:
            self._touched[call.linkedid] = None
        return call

    @property
    def last_events(self) -> dict[str, float]:
        """The time of each call's last event, by linkedid."""
        return {linkedid: call.seen for linkedid, call in self._calls.items()}

    def names_of(self, linkedid: str) -> set[str]:
        """Every linkedid and uniqueid of this call and its channels."""
        call = self._calls.get(linkedid)
        return set() if call is None else {linkedid, *call.aliases, *call.channels}

    def __len__(self) -> int:
        return len(self._calls)

    def knows(self, linkedid: str) -> bool:
        """Whether a call is, or was, known by this linkedid."""
        return linkedid in self._calls or linkedid in self._by_alias

    def holds(self, uniqueid: str) -> bool:
        """Whether this channel belongs to a call."""
        return uniqueid in self._by_channel

    def let_go(self, linkedid: str) -> None:
        """This call is not followed any longer: its snapshot can be deleted."""
        self._touched[linkedid] = None

    def is_gone(self, uniqueid: str) -> bool:
        """Whether this channel has hung up, so that a late or repeated event does not bring it back."""
        return uniqueid in self._gone

    def follow(self, uniqueid: str, linkedid: str, time: float) -> TrackedCall | None:
        """The call of a channel. A channel that appears with another linkedid means that two calls have merged."""
        call = self._by_channel.get(uniqueid)
        if call is None:
            return None
        self._touched[call.linkedid] = None
        if time > call.seen:
            call.seen = time
        if linkedid != call.linkedid and linkedid:
            other = self.call_of(linkedid)
            if other is None:
                self._alias(call, linkedid)
            elif other is not call:
                return self.merge(call, other, time)
        return call

    def adopt(self, call: TrackedCall, party: Party, time: float, begins: bool = False) -> Channel | None:
        """The channel in this call, added when new; None when it has hung up or belongs to another call.
        begins: this is its Newchannel."""
        known = call.channels.get(party.uniqueid)
        if known is not None:
            return known
        if self.is_gone(party.uniqueid) or party.uniqueid in self._by_channel:
            return None
        if len(call.channels) >= call.channel_limit:
            self._make_room(call)
        channel = self.new_channel(party, time, begins)
        call.channels[party.uniqueid] = channel
        call.real = call.real or not channel.plumbing
        self._by_channel[party.uniqueid] = call
        return channel

    def new_channel(self, party: Party, time: float, begins: bool = False) -> Channel:
        """A new channel; its context and endpoint say whether it leads outside or belongs to an employee."""
        channel = Channel(party.uniqueid, party.name, party.number, party.context in self.incoming, time)
        if channel.plumbing:
            channel.number = dialled_number(party.name)
        elif not channel.outside:
            channel.number = self.extensions.of(endpoint_of(party.name), party.number, learn=begins)
        return channel

    def _make_room(self, call: TrackedCall) -> None:
        """Forgets all but the last ended channels. This is done only now and then, because it goes through all
        channels."""
        others = [channel for channel in call.channels.values() if channel.uniqueid not in (call.first, call.party)]
        ended = [channel for channel in others if channel.ended]
        live = [channel for channel in others if not channel.ended]
        for channel in (*ended[:-MOST_ENDED], *live[:-MOST_LIVE]):
            self._drop(call, channel)
        call.channel_limit = len(call.channels) + MOST_ENDED

    def _drop(self, call: TrackedCall, channel: Channel) -> None:
        """Forgets an ended channel of a call in progress; the outcome of its leg is kept."""
        outcome = leg_outcome(channel)
        if channel.leg and (channel.outside or call.direction != "outgoing") and outcome not in call.statuses:
            call.statuses += (outcome,)
        del call.channels[channel.uniqueid]
        if not channel.lent:
            self._forget(channel.uniqueid)

    def merge(self, one: TrackedCall, other: TrackedCall, time: float) -> TrackedCall:
        """Merges two calls: the one with the outside caller continues and absorbs the consultation.

        Two calls that both have stages of the same direction stay separate, because each caller's call has its own end.
        So does the login of an agent, which outlives the call.
        """
        if one.agent or other.agent:
            return one
        ranks = _RANK[one.direction], _RANK[other.direction]
        if ranks[0] == ranks[1] and ranks[0] and _has_outside(one) == _has_outside(other):
            return one
        stays, goes = sorted(
            (one, other), key=lambda call: (-_RANK[call.direction], not _has_outside(call), call.started)
        )
        self._conclude(goes, time, "hangup")
        self._strike(goes)
        for linkedid in (goes.linkedid, *goes.aliases):
            self._alias(stays, linkedid)
        for channel in goes.channels.values():
            channel.leg, channel.hop = False, channel.hop and stays.hop.number
        stays.channels |= goes.channels
        stays.real = stays.real or goes.real
        self._by_channel |= dict.fromkeys(_own(goes), stays)
        if len(stays.channels) >= stays.channel_limit:
            self._make_room(stays)
        return stays

    def _alias(self, call: TrackedCall, linkedid: str) -> None:
        call.aliases += (linkedid,)
        self._by_alias[linkedid] = call
        if len(call.aliases) > MOST_ALIASES:
            self._unname(call, call.aliases[0])
            call.aliases = call.aliases[1:]

    def _unname(self, call: TrackedCall, alias: str) -> None:
        if self._by_alias.get(alias) is call:
            del self._by_alias[alias]

    def fire(self, call: TrackedCall, name: str, key: StageKey, time: float, **more: Value) -> bool:
        """Reports a stage unless it was reported before; more: parameters that only this stage has."""
        if name in _OPTIONAL and name not in self.optional:
            return False
        keys = call.fired.get(name, ())
        if key in keys or len(keys) >= MOST_STAGES:
            return False
        call.fired[name] = keys = (*keys, key)
        values = values_of(call, time)
        values |= more
        self.touch(call).append(Stage(name, published_key(keys), len(keys), moment(time), values))
        return True

    def served_by(self, agent: TrackedCall, uniqueid: str) -> TrackedCall:
        """The call of the caller to whom this agent's channel talks; the agent's own call when there is none."""
        serving = (call for call in self._calls.values() if uniqueid in call.channels and call is not agent)
        return self._hand_out(next(serving, agent)) or agent

    def touch(self, call: TrackedCall) -> list[Stage]:
        """Reports the call after this message: it has new stages, or changes that a restart must not lose."""
        return self._changed.setdefault(call.linkedid, (call, []))[1]

    def conclude(self, call: TrackedCall, time: float) -> None:
        """Ends the conversation; the caller may still give a mark."""
        if not call.move("is_over"):
            return
        call.over = time
        if call.with_outside or (self.optional and call.rang_inside):
            self.fire(call, f"{call.direction or UNSETTLED}.after", StageKey(), time)

    def _conclude(self, call: TrackedCall, time: float, reason: EndReason) -> None:
        if call.phase != "over":
            call.end_reason = reason
        self.conclude(call, time)
        if _RANK[call.direction]:
            self.touch(call)

    def end(self, call: TrackedCall, time: float, reason: EndReason) -> None:
        """The call is over; its last report goes out."""
        self._conclude(call, time, reason)
        if call.real:
            self.touch(call)
        self._strike(call)
        for uniqueid in _own(call):
            self._forget(uniqueid)

    def _strike(self, call: TrackedCall) -> None:
        _, stages = self._changed.pop(call.linkedid, (call, None))
        if stages is not None:
            self._reports.append(_report(call, stages, over=True))
        self._calls.pop(call.linkedid, None)
        self.let_go(call.linkedid)
        for alias in call.aliases:
            self._unname(call, alias)

    def _forget(self, uniqueid: str) -> None:
        """Removes an ended channel from the index and remembers it, so that late events of it are recognised."""
        self._by_channel.pop(uniqueid, None)
        self._gone[uniqueid] = None
        if len(self._gone) > MOST_GONE:
            for oldest in list(islice(self._gone, MOST_GONE // 10)):
                del self._gone[oldest]

    def take(self) -> list[CallReport]:
        """What has changed since the last time, one report per call."""
        if not self._changed and not self._reports:
            return []
        reports, self._reports = self._reports, []
        changed, self._changed = self._changed, {}
        for call, stages in changed.values():
            reports.append(_report(call, stages, over=False))
        for report in reports:
            self._touched.pop(report.linkedid, None)
        return reports

    def notes(self) -> dict[str, dict[str, JSON]]:
        """Snapshots of the calls that may have changed since the last time; empty for those that are over."""
        touched, self._touched = self._touched, {}
        return {linkedid: dump(call) if (call := self._calls.get(linkedid)) else {} for linkedid in touched}

    def all_notes(self) -> dict[str, dict[str, JSON]]:
        """Snapshots of all calls that live."""
        return {linkedid: dump(call) for linkedid, call in self._calls.items()}


def _own(call: TrackedCall) -> list[str]:
    """Its channels without those of agents, which are calls of their own."""
    return [uniqueid for uniqueid, channel in call.channels.items() if not channel.lent]


def _has_outside(call: TrackedCall) -> bool:
    """Whether an outside party is on the line; a follow-me may have rung one that did not answer."""
    return any(channel.outside and not channel.ended for channel in call.channels.values())


def _report(call: TrackedCall, stages: list[Stage], over: bool) -> CallReport:
    of_call = [stage.values for stage in stages if stage.name not in _OPTIONAL]
    answered_on = moment(call.answered) if call.answered else None
    ended_on, memory = (moment(call.over), {}) if over else (None, dump(call))
    return CallReport(  # in the order of its fields, because names would double the time
        call.linkedid, call.direction or UNSETTLED, call.caller[:80], call.caller_name, call.dst[:80],
        (call.extension or call.rung)[:80], moment(call.started), answered_on, ended_on,
        disposition(call) if call.phase == "over" else "", of_call[-1] if of_call else values_of(call, call.seen),
        tuple(stages), memory,
    )  # fmt: skip
