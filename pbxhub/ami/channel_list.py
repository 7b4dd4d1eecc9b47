"""The resync after every (re)connect: the list of live channels, put in order with the events around it.

Asterisk answers Status with the channels of that moment while it continues to send events. An event received between
the login and the answer may be older or newer than the answer. These events are held and sorted by call:

* The call has a channel in the list: its events go after the list. They may repeat what the list says.
* The call began meanwhile and is not in the list: after the list, which would otherwise end the call.
* The call is not in the list and did not begin meanwhile: it ended before the answer was made. Its last events go
  before the list, which then has nothing left to end.
The order within a call is kept. Observed in the recording "reconnect" of tests/traces/asterisk-22.ami.gz.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pbxhub.calls.ami_events import Hangup, Message, Newchannel, Status
from pbxhub.calls.ami_parser import parse

VARIABLES = "CDR(start),CDR(answer),DIALEDPEERNUMBER,MIXMONITOR_FILENAME,CHANNEL(linkedid),CALLERID(ANI)"
_MOST_FOLLOWED = 50_000  # channels remembered after their end; a CEL row comes seconds later
_LINKEDID = re.compile(r"^\w*(?i:linkedid): (.+?)\r?$", re.MULTILINE)
_UNIQUEID = re.compile(r"^Uniqueid: (.+?)\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One event as it arrived. on: time of arrival, seconds since 1970."""

    block: str
    on: float


@dataclass(frozen=True, slots=True)
class ChannelList:
    """The channels that existed at one moment. Its times are Asterisk's, like those of its events and CEL rows.

    started_on: when Asterisk started; None when it did not say.
    restarted: whether Asterisk restarted since the previous list; None when unknown.
    """

    channels: tuple[Status, ...]
    taken_on: datetime
    version: str
    started_on: datetime | None
    restarted: bool | None

    @property
    def answered(self) -> dict[str, bool]:
        """The uniqueids of all the channels, and whether each is answered."""
        return {status.channel.uniqueid: status.state == "Up" for status in self.channels}


@dataclass(frozen=True, slots=True)
class SilentCheck:
    """The live channels, requested because some calls had no event for a long time."""

    channels: tuple[Status, ...]
    asked_on: datetime


class FollowedChannels:
    """Which channels the events showed from start to end. live: uniqueids of the channels in existence now."""

    def __init__(self) -> None:
        self.live: set[str] = set()
        self._begun: set[str] = set()  # whose start was received since the last resync
        self._whole: dict[str, None] = {}

    def feed(self, message: Message) -> None:
        """An event that the tracker has processed."""
        if isinstance(message, Newchannel):
            self.live.add(message.channel.uniqueid)
            self._begun.add(message.channel.uniqueid)
        elif isinstance(message, Hangup):
            self.live.discard(message.uniqueid)
            if message.uniqueid in self._begun:
                self._begun.remove(message.uniqueid)
                self._whole[message.uniqueid] = None
                if len(self._whole) > _MOST_FOLLOWED:
                    del self._whole[next(iter(self._whole))]

    def resync(self, channels: Iterable[Status]) -> None:
        """Events may have been missed, so none of the channels that exist now was followed without a gap."""
        self.live = {status.channel.uniqueid for status in channels}
        self._begun.clear()

    def throughout(self, uniqueids: Iterable[str]) -> bool:
        """Whether each of these channels was followed from its start to its end without a gap."""
        return all(uniqueid in self._whole for uniqueid in uniqueids)


def read_channels(status: Iterable[str], shown: Iterable[str], now: datetime) -> tuple[Status, ...]:
    """The channels in the answers to Status and CoreShowChannels, each once. Status has more fields and goes first."""
    channels: dict[str, Status] = {}
    for block in (*status, *shown):
        message = parse(block, now.timestamp())
        if isinstance(message, Status):
            channels.setdefault(message.channel.uniqueid, message)
    return tuple(channels.values())


def sort_held(
    held: Sequence[ReceivedEvent], channels: Sequence[Status]
) -> tuple[list[ReceivedEvent], list[ReceivedEvent]]:
    """Splits the held events into those to process before the channel list and those to process after it."""
    later = {status.channel.linkedid for status in channels} | {status.channel.uniqueid for status in channels}
    before: list[ReceivedEvent] = []
    after: list[ReceivedEvent] = []
    for event in held:
        calls = set(_LINKEDID.findall(event.block))
        if _begins_a_call(event.block):
            later |= calls
        (after if calls & later else before).append(event)
    return before, after


def _begins_a_call(block: str) -> bool:
    uniqueid, linkedid = _UNIQUEID.search(block), _LINKEDID.search(block)
    return (
        block.startswith("Event: Newchannel")
        and uniqueid is not None
        and linkedid is not None
        and uniqueid[1] == linkedid[1]
    )
