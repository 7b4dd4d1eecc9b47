"""What is known of the channels in CEL rows: who dialled whom, which number, who talks to whom."""

import re
from collections.abc import Collection, Iterator, Sequence

from pbxhub.calls.ami_events import Party
from pbxhub.calls.ami_headers import whole
from pbxhub.calls.cel_rows import CelRow
from pbxhub.calls.incoming_contexts import IncomingContexts
from pbxhub.calls.phone_numbers import dialled_number

_ORIGINATED = "AppDial2"
_NUMBER = re.compile(r"[+*#]?\d{2,}")


class CelChannels:
    """The channels of whole calls: what a row does not say itself. Some of it comes from rows that follow.

    started: the first row of each channel. slots: the parking slot a channel dialled; retrievers: who took a parked
    channel back. legs: channels dialled and not hung up, by linkedid.
    sent_on: where the last blind transfer sent a call, by linkedid. queues: where a caller waits, by linkedid.
    party: uniqueid of the channel that the first channel of a linkedid talks to. rung: channels Asterisk itself rang.
    dialled: the number that Dial gave to a leg's endpoint. announced: what a Dial that has begun will dial, by
    linkedid and endpoint.
    """

    def __init__(self, rows: Sequence[CelRow], incoming_contexts: Collection[str]) -> None:
        self._incoming_contexts = IncomingContexts(incoming_contexts)
        self._open: dict[str, CelRow] = {}
        self.dialled: dict[str, str] = {}
        self._announced: dict[tuple[str, str], str] = {}
        self.started: dict[str, CelRow] = {}
        self.names: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        self.causes: dict[str, int] = {}
        self.slots: dict[str, str] = {}
        self.retrievers: dict[str, str] = {}
        self.linkedids: dict[str, str] = {}
        self.legs: dict[str, list[str]] = {}
        self.party: dict[str, str] = {}
        self.rung: set[str] = set()
        self.sent_on: dict[str, str] = {}
        self.queues: dict[str, str] = {}
        self.left: dict[str, float] = {}  # when the first channel of a linkedid hung up, if it did so by itself
        for row in rows:
            self._look_ahead(row)

    def _look_ahead(self, row: CelRow) -> None:
        self._note_dialled(row)
        self.started.setdefault(row.uniqueid, row)
        self.names.setdefault(row.channame, row.uniqueid)
        if row.cidnum:
            self.numbers[row.uniqueid] = row.cidnum
        if row.eventtype == "HANGUP":
            self.causes[row.uniqueid] = whole(row.extra.get("hangupcause", ""))
            if row.uniqueid == row.linkedid and row.extra.get("hangupsource") == row.channame:
                self.left[row.linkedid] = row.time
        if row.eventtype == "PARK_END":
            self.retrievers[row.uniqueid] = row.extra.get("retriever", "")
        if row.appname == _ORIGINATED and row.uniqueid == row.linkedid and not row.channame.startswith("Local/"):
            self.rung.add(row.uniqueid)
        if row.appname == "ParkedCall":
            self.slots[row.channame] = row.appdata.rpartition(",")[2]

    def _note_dialled(self, row: CelRow) -> None:
        """APP_START of Dial comes before the legs that it dials. Without that row (an operator's own cel.conf), a later
        row of the dialler has the number if it was written while Dial ran; often there is none."""
        if row.eventtype == "CHAN_START" and row.uniqueid != row.linkedid:
            self._open[row.uniqueid] = row
            number = self._announced.pop((row.linkedid, _endpoint(row)), "")
            if number:
                self.dialled[row.uniqueid] = number
        elif row.eventtype == "HANGUP":
            self._open.pop(row.uniqueid, None)
        if row.appname == "Dial" and row.eventtype != "APP_END":
            for endpoint, number in _destinations(row.appdata):
                if row.eventtype == "APP_START":
                    self._announced[row.linkedid, endpoint] = number
                else:
                    self._note_leg(row.linkedid, endpoint, number)

    def _note_leg(self, linkedid: str, endpoint: str, number: str) -> None:
        legs = (leg for leg in self._open.values() if leg.linkedid == linkedid and _endpoint(leg) == endpoint)
        leg = next((leg for leg in legs if leg.uniqueid not in self.dialled), None)
        if leg is not None:
            self.dialled[leg.uniqueid] = number

    def whom(self, row: CelRow) -> str:
        """The number that a leg was dialled for; empty when unknown.

        A Dial in a Gosub (FreePBX) gives its leg the exten and number "s". Then it is the number that the first channel
        dialled or was transferred to; for an ordered call no row has it.
        """
        number = self.dialled.get(row.uniqueid) or self._own(row, self.numbers.get(row.uniqueid, ""))
        return self._dialled_first(row) if number in ("", "s") else number

    def _dialled_first(self, leg: CelRow) -> str:
        first = self.started.get(leg.linkedid, leg)
        from_inside = first.context not in self._incoming_contexts and not first.channame.startswith("Local/")
        number = self.sent_on.get(leg.linkedid) or (first.exten if leg.linkedid not in self.party else "")
        return number if first is not leg and from_inside and _NUMBER.fullmatch(number) else ""

    def _own(self, begun: CelRow, number: str) -> str:
        """The number that a channel shows; empty when an outside leg shows somebody else's number."""
        first = self.started.get(begun.linkedid, begun)
        both_outside = begun.context in self._incoming_contexts and first.context in self._incoming_contexts
        return "" if first is not begun and both_outside and number in (first.cidnum, first.exten) else number

    def channel(self, uniqueid: str, name: str = "") -> Party:
        """The channel with its first context, which says whether it leads outside."""
        begun = self.started.get(uniqueid)
        if begun is None:
            return Party(uniqueid or name, uniqueid, name, "", "")
        linkedid = self.linkedids.get(uniqueid, begun.linkedid)
        return Party(uniqueid, linkedid, begun.channame, begun.context, self._own(begun, begun.cidnum))

    def named(self, name: str) -> Party:
        return self.channel(self.names.get(name, ""), name)

    def number(self, uniqueid: str, name: str) -> str:
        """The number that a channel leads to: its own, or the one that a Local channel dials."""
        local = name.startswith("Local/")
        return dialled_number(name) if local else self.started[uniqueid].cidnum if uniqueid in self.started else ""


def _destinations(appdata: str) -> Iterator[tuple[str, str]]:
    """PJSIP/101&PJSIP/15551234@trunk,20 -> the endpoints and numbers that are dialled through one."""
    for destination in appdata.partition(",")[0].split("&"):
        technology, _, called = destination.partition("/")
        _, at, host = called.partition("@")
        endpoint, slash, _ = called.partition("/")
        if number := dialled_number(called) if technology != "Local" and (at or slash) else "":
            yield f"{technology}/{endpoint.rpartition('@')[2] if slash else host}", number


def _endpoint(leg: CelRow) -> str:
    """PJSIP/trunk-0000002a -> PJSIP/trunk"""
    return leg.channame.rpartition("-")[0]
