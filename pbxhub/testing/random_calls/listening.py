"""The stages that the hub reports for the calls on a PBX: its parser and tracker, behind an AMI user of their own."""

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from pbxhub.calls.ami_parser import parse
from pbxhub.calls.stages import CallReport, Stage
from pbxhub.calls.tracker import Tracker
from pbxhub.testing.pbx.ami_stream import AmiStream
from pbxhub.testing.pbx.asterisk import HUB_USER, Asterisk
from pbxhub.testing.random_calls.cell import cell_of
from pbxhub.testing.random_calls.truth import FIELDS, Call, Line

_NAMED = re.compile(r"\d{4,11}")
_IDS = re.compile(r"^\w*(?:Uniqueid|Linkedid): (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One AMI event and when it arrived, in seconds since 1970."""

    time: float
    text: str


class Listening:
    """Follows all calls from its start on."""

    def __init__(self, pbx: Asterisk) -> None:
        self._tracker = Tracker()
        self._lock = threading.Lock()
        self._reports: list[CallReport] = []
        self._blocks: list[Block] = []
        self._stream = AmiStream(pbx.address, HUB_USER, self._hear)

    def close(self) -> None:
        """Closes the connection."""
        self._stream.close()

    def calls(self, cell: str, since: float) -> list[Call]:
        """The calls of a cell that began since then, with the stages reported so far."""
        with self._lock:
            return calls_of(self._reports, cell, since)

    def events(self, cell: str, since: float) -> list[Block]:
        """The events of the calls of a cell since then."""
        with self._lock:
            recent = [block for block in self._blocks if block.time > since]
        ids = {found for block in recent if cell in _cells_in(block.text) for found in _IDS.findall(block.text)}
        return [block for block in recent if ids.intersection(_IDS.findall(block.text))]

    def _hear(self, text: str) -> None:
        now = time.time()
        message = parse(text, now)
        with self._lock:
            self._blocks.append(Block(now, text))
            if message is not None:
                self._reports += self._tracker.feed(message)


def calls_of(reports: Sequence[CallReport], cell: str, since: float = 0.0, until: float = inf) -> list[Call]:
    """The calls of a cell that began in that time. Internal calls have no stages."""
    told: dict[str, list[CallReport]] = {}
    for report in reports:
        if since < report.started_on.timestamp() < until:
            told.setdefault(report.linkedid, []).append(report)
    return [_call(each) for each in told.values() if any(cell in _cells(report) for report in each)]


def _cells(report: CallReport) -> set[str]:
    return {cell_of(number) for number in (report.caller, report.dst, report.extension)} - {""}


def _cells_in(text: str) -> set[str]:
    names = re.findall(r"^(?:Dest)?(?:Channel|CallerIDNum|Exten): (.*)$", text, re.MULTILINE)
    return {cell_of(number) for name in names for number in _NAMED.findall(name.partition("-")[0])} - {""}


def _call(reports: Sequence[CallReport]) -> Call:
    last = reports[-1]
    stages = [stage for report in reports for stage in report.stages]
    after = next((stage.values for stage in stages if stage.name.endswith(".after")), {})
    talk = after.get("billsec")
    talked = float(talk) if isinstance(talk, int) and after.get("is_answered") else None
    return Call(last.direction, tuple(_line(stage) for stage in stages), talked, str(after.get("hangup_by", "")))


def _line(stage: Stage) -> Line:
    values = [str(stage.values.get(name, "")) for name in FIELDS.get(stage.name, ())]
    if stage.name == "incoming.forward" and values[0] == "ring":
        values.pop()
    return Line(stage.name, tuple(values))
