"""A recording heard with a gap: what a listener is told that misses some events and takes stock afterwards."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache

from pbxhub.calls.ami_events import Message, Status
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.replay import blocks
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker
from tests.support.recordings import more, scenarios

CHANNEL_HEADERS = ("Channel", "ChannelStateDesc", "CallerIDNum", "CallerIDName", "ConnectedLineNum", "Context", "Exten")


def headers_of(block: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        found.setdefault(name, value.strip())
    return found


class Pbx:
    """What Asterisk would answer to Status at any moment of a recording.

    running: the application of each channel that nobody dialled, which CEL tells.
    """

    def __init__(self, running: Mapping[str, str] | None = None) -> None:
        self.channels: dict[str, dict[str, str]] = {}
        self.gone: set[str] = set()
        self.parked: dict[str, Mapping[str, str]] = {}
        self._running = running or {}

    def hear(self, block: str) -> None:
        headers = headers_of(block)
        for prefix in ("", "Dest"):
            uniqueid = headers.get(f"{prefix}Uniqueid", "")
            if f"{prefix}Channel" in headers and uniqueid not in self.gone and headers["Event"] not in ("CEL", "Cdr"):
                new = {"Uniqueid": uniqueid, "Application": self._running.get(uniqueid, "")}
                channel = self.channels.setdefault(uniqueid, new)
                channel |= {name: headers.get(f"{prefix}{name}", "") for name in (*CHANNEL_HEADERS, "Linkedid")}
        self._note(headers)

    def _note(self, headers: Mapping[str, str]) -> None:
        event, uniqueid = headers.get("Event"), headers.get("Uniqueid", "")
        if event == "Newchannel":
            self._begin(self.channels[uniqueid], headers)
        elif event == "Newstate" and headers["ChannelStateDesc"] == "Ring":
            self.channels[uniqueid] |= {"DNID": headers["Exten"], "Application": self._running.get(uniqueid, "")}
        elif event == "Pickup":
            self._take_over(self.channels[uniqueid], self.channels[headers["TargetUniqueid"]])
        if event == "ParkedCall":
            self.parked[headers["ParkeeUniqueid"]] = headers
        elif event in ("BridgeLeave", "Hangup"):
            self.parked.pop(uniqueid, None)
        if event == "Hangup":
            self.gone.add(uniqueid)
            self.channels.pop(uniqueid, None)
        elif event == "DialBegin":
            dialled = {"Variable": f"DIALEDPEERNUMBER={headers['DialString']}"}
            by = {"Application": "AppDial"} if "Channel" in headers else {}  # otherwise Asterisk itself dials: AppDial2
            self.channels[headers["DestUniqueid"]] |= dialled | by
        elif event in ("BridgeEnter", "BridgeLeave"):
            self.channels[uniqueid]["BridgeID"] = headers["BridgeUniqueid"] if event == "BridgeEnter" else ""

    @staticmethod
    def _begin(channel: dict[str, str], headers: Mapping[str, str]) -> None:
        """A channel that does not ring was made by Asterisk; Local channels have neither a DNID nor an application."""
        if headers["Channel"].startswith("Local/"):
            return
        if headers["ChannelStateDesc"] == "Ring":
            channel["DNID"] = headers["Exten"]
        else:
            channel["Application"] = "AppDial2"

    @staticmethod
    def _take_over(taker: dict[str, str], rung: Mapping[str, str]) -> None:
        taker |= {name: rung[name] for name in ("Application", "Variable") if name in rung}

    def status(self) -> list[Status]:
        answers = []
        for channel in self.channels.values():
            answer = _parse({"Event": "Status", **channel})
            assert isinstance(answer, Status)
            answers.append(answer)
        return answers

    def parked_calls(self, now: float) -> list[Message]:
        """What Asterisk would answer to ParkedCalls: the events again, without a time of their own."""
        events = [{name: event[name] for name in event if name != "Timestamp"} for event in self.parked.values()]
        return [message for event in events if (message := _parse(event, now))]


def _parse(headers: Mapping[str, str], now: float = 0.0) -> Message | None:
    return parse("\n".join(f"{name}: {value}" for name, value in headers.items()), now)


@cache
def heard(version: str, name: str) -> tuple[tuple[Message, tuple[Status, ...], tuple[Message, ...]], ...]:
    """Each message of a recording with the channels that live after it, and the parked calls. version: 16, 22, or the
    name of a more file."""
    lines = more()[f"{version}/{name}"] if version.startswith("more") else scenarios(version)[name]
    told = [block for block, _ in blocks(lines)]
    rows = [headers for headers in map(headers_of, told) if headers["Event"] == "CEL"]
    pbx = Pbx({row["UniqueID"]: row["Application"] for row in rows if row["Application"] not in ("", "AppDial")})
    found = []
    for block in told:
        pbx.hear(block)
        message = parse(block)
        if message is not None:
            found.append((message, tuple(pbx.status()), tuple(pbx.parked_calls(message.time))))
    return tuple(found)


def with_gap(version: str, name: str, begin: int, end: int, trunks: Iterable[str] = ()) -> Iterator[CallReport]:
    """What a tracker reports that misses the messages from begin up to end, both counted from 0. trunks: known from
    earlier calls."""
    tracker = Tracker()
    tracker.restore({}, trunks)
    for index, (message, live, parked) in enumerate(heard(version, name)):
        if not begin <= index < end:
            yield from tracker.feed(message)
        elif index == end - 1:
            yield from tracker.resync(live, datetime.fromtimestamp(message.time, UTC), "lost_while_disconnected")
            yield from (report for each in parked for report in tracker.feed(each))
