"""Continues the live calls that began in a gap: CEL has their beginning, which the list of channels does not show."""

import asyncio
import time
from collections.abc import Callable, Container, Iterator, Sequence

import structlog

from pbxhub.ami.cel_reading import CelReading
from pbxhub.ami.channel_list import ChannelList
from pbxhub.calls.ami_events import Status
from pbxhub.calls.cel_calls import CelCall
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker

log = structlog.get_logger(__name__)
_AT_MOST = 2.0  # seconds to wait for the rows of these calls
_BETWEEN = 0.1  # seconds between two looks for them


class CallsBegunInAGap:
    """Of one PBX."""

    def __init__(self, cel: CelReading, new_tracker: Callable[[], Tracker]) -> None:
        self._cel = cel
        self._new_tracker = new_tracker
        self._reading: asyncio.Task[None] | None = None

    async def take_up(self, live: ChannelList, tracker: Tracker, now: float) -> list[CallReport]:
        """Lets the tracker continue the live calls that it does not know as if it had followed their beginning, and
        returns the reports of these. Call it before the resync. Waits up to two seconds for their rows.

        1. The hub is stopped; 2. an employee calls somebody outside and transfers them to somebody else outside; 3. the
        hub reads the channels: two trunks are all that is left.
        """
        unknown = tracker.unknown(live.channels)
        if self._cel.source is None or not unknown:
            return []
        await self.close()
        begun: dict[CelCall, CelCall] = {}
        self._reading = asyncio.create_task(self._read(live, unknown, begun, now))
        await asyncio.wait({self._reading}, timeout=_AT_MOST)  # one reading of a table far away may take longer
        return [report for call in begun.values() for report in self._continue(call, tracker)]

    async def close(self) -> None:
        """Ends a reading that has taken longer."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _read(
        self, live: ChannelList, unknown: Sequence[Status], begun: dict[CelCall, CelCall], now: float
    ) -> None:
        try:
            await self._read_beginnings(live, unknown, begun, now)
        except Exception:  # the list alone counts then
            log.exception("beginnings of calls cannot be read from CEL; continuing without them")

    async def _read_beginnings(
        self, live: ChannelList, unknown: Sequence[Status], begun: dict[CelCall, CelCall], now: float
    ) -> None:
        """Reads until the rows have these channels as the list has them. begun: receives each of their calls as it was
        then, at the first reading that has it.

        Rows after the channels became those of the list may be newer than the list, those of a later reading are. What
        these tell comes as events, too, and would ring the same phone a second time; what is older is told at the end.
        Where the channels never were those of the list, the list alone counts. tests/test_hear_a_call_with_a_gap.py
        """
        ends = time.monotonic() + _AT_MOST
        while time.monotonic() < ends:
            more = await self._cel.read_on(now)
            for status in unknown:
                call = self._cel.calls.of(status.channel.uniqueid)
                if call is not None and call not in begun and (listed := call.when_live(live.answered)) is not None:
                    begun[call] = listed
            if self._cel.failing or not (more or any(self._is_to_come(live, status, begun) for status in unknown)):
                break
            await asyncio.sleep(0 if more else _BETWEEN)

    def _is_to_come(self, live: ChannelList, status: Status, begun: Container[CelCall]) -> bool:
        """Whether rows about a channel are older than the list, but newer than the last row read; all these times are
        Asterisk's."""
        call, taken_on = self._cel.calls.of(status.channel.uniqueid), live.taken_on.timestamp()
        if call is None:
            return taken_on - status.seconds >= self._cel.place.time
        return taken_on >= self._cel.place.time and call not in begun

    def _continue(self, call: CelCall, tracker: Tracker) -> Iterator[CallReport]:
        """The reports of a call with channels that are all unknown to the tracker, which continues it from here."""
        if tracker.knows(call.keys):
            return
        follower = self._new_tracker()
        yield from self._cel.reports(call, follower)
        tracker.restore(follower.all_notes())
