"""What the tracker knows of a call in progress: its channels, whom it rang, who talks, what was reported."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pbxhub.calls.directions import SETTLES
from pbxhub.calls.phases import TABLE, Moment, Phase
from pbxhub.calls.plumbing import is_plumbing
from pbxhub.calls.stages import Direction

ForwardKind = Literal["ring", "diversion", "blind_transfer", "attended_transfer", "redirect", "park"]
EndReason = Literal["hangup", "lost_while_disconnected", "pbx_restarted", "expired"]


class StageKey(NamedTuple):
    """Tells two stages of one name apart: the hop (0 where hops do not count), and the destination or number."""

    hop: int = 0
    to: str = ""


@dataclass(slots=True)
class Channel:
    """One channel of a call, kept after its hangup because the call's outcome depends on it.

    number: the employee's extension, or the number dialled when the channel leads outside.
    parent: uniqueid of the channel that dialled it. hop: the hop it was dialled in, 0 when nobody dialled it.
    leg: dialled for the call itself (a consultation is not). status: DialStatus of the leg once its dial is over.
    caller_id: the caller's number that an outside leg was dialled with.
    Times are seconds since 1970; 0.0 before the moment has come.
    bridge: the bridge for two that it is in now. bridged: it has entered a bridge.
    left: its owner has sent the call on and is hanging up. pressed: when it pressed * or #, the last of
        the two who talk.
    lent: the channel of a logged-in agent, which exists before and after the call.
    plumbing: a channel that Asterisk created for itself. local: one of a pair of Local channels; the real party is
        behind it.
    dumped: its row in the last snapshot of a call of many channels.
    """

    uniqueid: str
    name: str
    number: str = ""
    outside: bool = False
    started: float = 0.0
    parent: str = ""
    hop: int = 0
    leg: bool = False
    caller_id: str = ""
    status: str = ""
    answered: float = 0.0
    ended: float = 0.0
    cause: int = 0
    held: float = 0.0
    bridge: str = ""
    bridged: bool = False
    left: bool = False
    pressed: float = 0.0
    lent: bool = False
    plumbing: bool = field(init=False, compare=False, repr=False)
    local: bool = field(init=False, compare=False, repr=False)
    dumped: tuple[Any, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        self.local = self.name.startswith("Local/")
        self.plumbing = self.local or is_plumbing(self.name)


@dataclass(slots=True)
class Hop:
    """Where the call is sent now: a transfer, diversion, park or redirect begins the next hop.

    number: counts from 1. times: when the last hops began; they identify repeated messages.
    connected: this hop's dial was answered, so another dial of the first channel is a redirect.
    redirecting: number of a redirect's hop that has not rung anybody yet, otherwise 0.
    destination: the number that the transfer, diversion or redirect named.
    moving: uniqueid of the channel that dials again while the party it dialled is still on the call.
    early: uniqueids of the channels it has dialled, for the next hop.
    awaited: number of the party for which an attended transfer, completed while ringing, waits.
    """

    number: int = 1
    times: tuple[float, ...] = ()
    connected: bool = False
    redirecting: int = 0
    destination: str = ""
    awaited: str = ""
    moving: str = ""
    early: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SentOn:
    """A forward or a transfer: what kind, who sent the call on, where to."""

    kind: ForwardKind | Literal[""] = ""
    source: str = ""
    to: str = ""


@dataclass(frozen=True, slots=True)
class QueueVisit:
    """The caller's last queue. joined: when the caller entered it; 0.0 = not yet. wait: seconds until the answer."""

    name: str = ""
    joined: float = 0.0
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Holds:
    """How often and for how many seconds the caller was on hold."""

    count: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class HangupCause:
    """code: Asterisk's cause, -1 = not known."""

    code: int = -1
    text: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    started: bool = False
    file: str = ""


@dataclass(frozen=True, slots=True)
class Dialplan:
    """What the dialplan reported by UserEvent. marked: time of the last mark; it identifies repeated messages."""

    outward: bool = False
    disposition: str = ""
    scheme: str = ""
    digits: str = ""
    marked: float = 0.0
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class TrackedCall:
    """One call from its first channel to its last.

    linkedid: the one it began with; aliases: further ones, after calls have merged.
    first: uniqueid of the channel that began it. party: uniqueid of the channel the caller talks to.
    phase, direction: changed by move() alone; direction is None until it is settled.
    hangup_by: who hung up first: caller, employee or pbx.
    over: when the conversation part ended (the stage after), while an evaluation may follow.
    joined: linkedid of another call, when the outside parties of both talk to each other.
    agent: this call is the login of an agent who waits for calls.
    talk_ended: when the call was sent on, until somebody answers.
    real: it has, or had, a channel that is not plumbing, so its end is reported.
    channel_limit: number of channels at which the oldest ended ones are forgotten. statuses: outcomes of the legs of
        those.
    waiting: legs that were answered and are not bridged yet, with their hop.
    fired: keys of the stages reported so far, by name.
    """

    linkedid: str
    first: str
    started: float = 0.0
    seen: float = 0.0
    phase: Phase = "begun"
    direction: Direction | None = None
    originated: bool = False
    channel: str = ""
    dst_channel: str = ""
    context: str = ""
    trunk: str = ""
    caller: str = ""
    caller_name: str = ""
    dst: str = ""
    outbound_number: str = ""
    extension: str = ""
    rung: str = ""
    party: str = ""
    answered: float = 0.0
    over: float = 0.0
    ring_time: float = 0.0
    talk_ended: float = 0.0
    end_reason: EndReason = "hangup"
    real: bool = False
    joined: str = ""
    agent: bool = False
    channel_limit: int = 128
    hop: Hop = field(default_factory=Hop)
    queue: QueueVisit = QueueVisit()
    forward: SentOn = SentOn()
    transfer: SentOn = SentOn()
    holds: Holds = Holds()
    hangup: HangupCause = HangupCause()
    hangup_by: str = ""
    recording: Recording = Recording()
    dialplan: Dialplan = Dialplan()
    aliases: tuple[str, ...] = ()
    waiting: dict[str, int] = field(default_factory=dict)
    fired: dict[str, tuple[StageKey, ...]] = field(default_factory=dict)
    statuses: tuple[str, ...] = ()
    channels: dict[str, Channel] = field(default_factory=dict)

    def move(self, moment: Moment) -> bool:
        """Moves the call to its next phase; False when this moment means nothing in the current phase."""
        phase, direction = TABLE[self.phase].get(moment), SETTLES.get(moment)
        if phase is None or (direction and self.direction):
            return False
        self.phase, self.direction = phase, direction or self.direction
        return True

    @property
    def with_outside(self) -> bool:
        """Whether it is incoming or outgoing."""
        return self.direction in ("incoming", "outgoing")

    @property
    def rang_inside(self) -> bool:
        """Whether it is, so far, a call inside the company in which a phone rang. The phone of whoever ordered the
        call, which Asterisk itself dials (Originate), does not count."""
        if self.with_outside or is_plumbing(self.channel):
            return False
        return any(leg.parent and not leg.outside for leg in self.legs())

    def has_fired(self, name: str, key: StageKey) -> bool:
        """Whether this stage has been reported."""
        return key in self.fired.get(name, ())

    def legs(self) -> Iterator[Channel]:
        """The legs dialled for this call. Only legs to the outside decide the outcome of an outgoing call."""
        return (channel for channel in self.channels.values() if channel.leg)

    def alive(self) -> bool:
        """Whether a channel keeps it in progress. Plumbing does not, unless the call began with it (Originate of a
        Local channel)."""
        for uniqueid, channel in self.channels.items():
            if not channel.ended and not channel.lent and (uniqueid == self.first or not channel.plumbing):
                return True
        return False

    def origin(self, channel: Channel) -> Channel:
        """The channel that really dials: follows Local channels back to the channel that dialled them."""
        for _ in range(10):
            if not channel.local:
                break
            near = self.near_end(channel)
            parent = self.channels.get(near.parent)
            if parent is None:
                return near
            channel = parent
        return channel

    def move_pairs(self, channel: Channel | None) -> None:
        """Moves the Local channels between the caller and this channel to the current hop: whatever they dial next is
        dialled for it."""
        for _ in range(10):
            if channel is None or channel.uniqueid == self.first:
                break
            if channel.local:
                channel = self.near_end(channel)
                channel.hop = self.hop.number
            channel = self.channels.get(channel.parent)

    def near_end(self, channel: Channel) -> Channel:
        """The ;1 end of a pair of Local channels, which is the one that was dialled."""
        return self.other_end(channel) or channel if channel.name.endswith(";2") else channel

    def other_end(self, channel: Channel) -> Channel | None:
        """The other end of a pair of Local channels."""
        name = f"{channel.name[:-1]}{'1' if channel.name.endswith('2') else '2'}"
        for other in self.channels.values():
            if other.name == name:
                return other
        return None
