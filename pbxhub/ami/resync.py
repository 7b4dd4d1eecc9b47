"""Taking stock after every (re)connect: which channels live, put in order with the events that interleave.

Asterisk answers Status with the channels of that moment while events go on. An event told between login and answer
may be older or newer than the answer, so the events of that while are held and sorted by call:

* a call with a channel in the answer: its events come after the stock (they may repeat what the stock says);
* a call that began meanwhile and is not in the answer: after the stock, which otherwise would end it;
* a call that is not in the answer and did not begin meanwhile: it ended before the answer was made, so its last
  events come before the stock, which then has nothing left to end.
Order within a call is kept. measured: traces/*/reconnect.ami.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pbxhub.calls.ami_events import Status, parse

VARIABLES = "CDR(start),CDR(answer),DIALEDPEERNUMBER,MIXMONITOR_FILENAME,CHANNEL(linkedid)"
_SAME_START = 3  # seconds two readings of one start of Asterisk may differ: Uptime is whole, clocks are set
_LINKEDID = re.compile(r"^\w*(?i:linkedid): (.+?)\r?$", re.MULTILINE)
_UNIQUEID = re.compile(r"^Uniqueid: (.+?)\r?$", re.MULTILINE)

Reason = Literal["lost_while_disconnected", "pbx_restarted"]


@dataclass(frozen=True, slots=True)
class Heard:
    """One event as it came. on: time of arrival, seconds since 1970."""

    block: str
    on: float


@dataclass(frozen=True, slots=True)
class Stock:
    """The channels of one moment.

    started_on: when Asterisk started, None when it did not say.
    restarted: whether it is another run of Asterisk than at the stock before; None when that is not known.
    """

    channels: tuple[Status, ...]
    taken_on: datetime
    version: str
    started_on: datetime | None
    restarted: bool | None


@dataclass(frozen=True, slots=True)
class Living:
    """What Asterisk answered when it was asked for its channels because of calls that had been silent for long."""

    channels: tuple[Status, ...]
    asked_on: datetime


def read_channels(status: Iterable[str], shown: Iterable[str], now: datetime) -> tuple[Status, ...]:
    """The channels in the answers to Status and CoreShowChannels, once each; Status knows more and goes first."""
    channels: dict[str, Status] = {}
    for block in (*status, *shown):
        message = parse(block, now.timestamp())
        if isinstance(message, Status):
            channels.setdefault(message.channel.uniqueid, message)
    return tuple(channels.values())


def sort_held(held: Sequence[Heard], channels: Sequence[Status]) -> tuple[list[Heard], list[Heard]]:
    """The events held while the stock was taken: those to be told before it, and those after it."""
    later = {status.channel.linkedid for status in channels} | {status.channel.uniqueid for status in channels}
    before: list[Heard] = []
    after: list[Heard] = []
    for heard in held:
        calls = set(_LINKEDID.findall(heard.block))
        if _begins_a_call(heard.block):
            later |= calls
        (after if calls & later else before).append(heard)
    return before, after


def _begins_a_call(block: str) -> bool:
    uniqueid, linkedid = _UNIQUEID.search(block), _LINKEDID.search(block)
    return (
        block.startswith("Event: Newchannel")
        and uniqueid is not None
        and linkedid is not None
        and uniqueid[1] == linkedid[1]
    )


def why_gone(known_start: datetime | None, stock: Stock) -> Reason:
    """Why calls that the hub knew are gone: Asterisk was restarted, or they ended while nobody listened."""
    restarted = stock.restarted
    if restarted is None and known_start and stock.started_on:
        restarted = (stock.started_on - known_start).total_seconds() > _SAME_START
    return "pbx_restarted" if restarted else "lost_while_disconnected"
