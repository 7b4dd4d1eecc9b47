"""What the tracker knows of a call while it lives: its channels, whom it rang, who talks, what was reported."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from pbxhub.calls.ami_events import Party

_DIGITS = re.compile(r"[0-9]+")
_TELLING = 7  # last digits by which an outside number is known
_SHORTEST_OUTSIDE = 5  # digits; a shorter one is an extension or a group


@dataclass(slots=True)
class Channel:
    """One channel of a call, kept after its hangup because the call's outcome is told from it.

    number: the employee's extension, or the number dialled when the channel leads outside.
    parent: uniqueid of the channel that dialled it. hop: the hop it was dialled in, 0 when nobody dialled it.
    leg: dialled for the call itself (a consultation is not). status: DialStatus of the leg once its dial is over.
    shown: the caller's number that an outside leg was dialled with.
    Times are seconds since 1970, 0.0 while the moment has not come.
    noted: what memory.dump() last wrote of it, and of which values.
    """

    uniqueid: str
    name: str
    number: str = ""
    outside: bool = False
    started: float = 0.0
    parent: str = ""
    hop: int = 0
    leg: bool = False
    shown: str = ""
    status: str = ""
    answered: float = 0.0
    ended: float = 0.0
    cause: int = 0
    held: float = 0.0
    noted: tuple[tuple[Any, ...], dict[str, Any]] = field(default=((), {}), compare=False, repr=False)

    @property
    def local(self) -> bool:
        return self.name.startswith("Local/")


@dataclass(slots=True)
class Call:
    """One call from its first channel to its last.

    linkedid: the one it began with; aliases: those it was known by after calls had merged.
    first: uniqueid of the channel that began it. party: uniqueid of the channel the caller talks to.
    hop: counts from 1; a transfer, diversion, park or redirect begins the next. hop_times: when the last ones began,
        which tells a repeated message.
    connected: somebody took this hop's dial, so that another dial of the first channel is a redirect.
    redirecting: the hop of a redirect that has not rung anybody yet, else 0.
    outward: the dialplan has said that it goes out, and nobody outside has been dialled yet.
    named: the destination that began this hop, as the transfer, diversion or redirect gave it.
    awaited: number of the party that an attended transfer, completed while ringing, waits for.
    over: when the conversation part ended (the stage after), while an evaluation may follow.
    real: it has, or had, a channel that is no plumbing: its end is reported.
    room: number of channels at which those that hung up long ago are forgotten. statuses: what their legs came to.
    fired: keys of the stages reported so far, by name; "<hop>:<destination>" where hops tell two apart.
    """

    linkedid: str
    first: str
    started: float = 0.0
    seen: float = 0.0
    direction: str = ""
    originated: bool = False
    outward: bool = False
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
    hop: int = 1
    hop_times: list[float] = field(default_factory=list)
    connected: bool = False
    redirecting: int = 0
    named: str = ""
    awaited: str = ""
    answered: float = 0.0
    over: float = 0.0
    ring_time: float = 0.0
    queue: str = ""
    queued: float = 0.0
    queue_wait: float = 0.0
    forward_kind: str = ""
    forward_from: str = ""
    forward_to: str = ""
    transfer_type: str = ""
    transfer_from: str = ""
    transfer_to: str = ""
    hold_count: int = 0
    hold_time: float = 0.0
    hangup_by: str = ""
    cause: int = -1
    cause_text: str = ""
    end_reason: str = "hangup"
    outcome: str = ""
    scheme: str = ""
    digits: str = ""
    recorded: bool = False
    recording_file: str = ""
    marked: float = 0.0
    real: bool = False
    room: int = 128
    aliases: list[str] = field(default_factory=list)
    fired: dict[str, list[str]] = field(default_factory=dict)
    statuses: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)

    def legs(self) -> Iterator[Channel]:
        """The legs dialled for this call; of an outgoing one only those to the outside decide its outcome."""
        return (channel for channel in self.channels.values() if channel.leg)

    def alive(self) -> bool:
        """A Local channel is plumbing and keeps no call alive, unless the call began with it (Originate)."""
        for uniqueid, channel in self.channels.items():
            if not channel.ended and (uniqueid == self.first or not channel.local):
                return True
        return False

    def origin(self, channel: Channel) -> Channel:
        """Who really dials when this channel does: follows Local channels back to the one that dialled them."""
        for _ in range(10):
            if not channel.local:
                break
            near = self.near_end(channel)
            parent = self.channels.get(near.parent)
            if parent is None:
                return near
            channel = parent
        return channel

    def near_end(self, channel: Channel) -> Channel:
        """The ;1 of a pair of Local channels: the end that was dialled."""
        if not channel.name.endswith(";2"):
            return channel
        name = f"{channel.name[:-1]}1"
        return next((other for other in self.channels.values() if other.name == name), channel)


def endpoint_of(name: str) -> str:
    """PJSIP/101-0000002a -> 101"""
    return name.partition("/")[2].rpartition("-")[0]


def dialled_number(dial_string: str) -> str:
    """15551234@trunk, PJSIP/15551234@trunk, trunk/15551234, PJSIP/trunk/sip:15551234@host -> 15551234"""
    user, _, host = dial_string.partition("@")
    number = user.rpartition("/")[2]
    scheme, colon, rest = number.partition(":")
    if not colon:
        return number
    if scheme.lower() == "tel" or (scheme.lower() in ("sip", "sips") and host):
        return rest.partition(";")[0]
    return host.rpartition("/")[2].partition("@")[0] if "/" in host else ""  # IAX2/user:secret@peer/15551234


def same_number(one: str, other: str) -> bool:
    """Whether they may be one outside number, written with and without the prefix to dial it by."""
    shorter, longer = sorted((one, other), key=len)
    return len(shorter) >= _SHORTEST_OUTSIDE and longer.endswith(shorter[-_TELLING:])


def new_channel(party: Party, incoming: Collection[str], time: float) -> Channel:
    """An outside channel is told by its context: an endpoint's own channels start in the endpoint's context."""
    outside = party.context in incoming
    endpoint = endpoint_of(party.name)
    found = _DIGITS.findall(endpoint)
    number = party.number if outside else (found[-1] if found else party.number or endpoint)
    return Channel(party.uniqueid, party.name, number, outside, time)
