"""What the hub makes of the calls on a real Asterisk: its own parser and tracker behind its own AMI user."""

import threading
import time

from pbxhub.calls.ami_parser import parse
from pbxhub.calls.stages import CallReport, Stage
from pbxhub.calls.tracker import Tracker
from pbxhub.testing.pbx.ami_stream import AmiStream
from pbxhub.testing.pbx.asterisk import HUB_USER, INCOMING_CONTEXT, Asterisk
from pbxhub.testing.waiting import await_until

_SHOWN = {
    "incoming.before": ("caller", "dst"),
    "incoming.forward": ("forward_kind", "forward_to"),
    "incoming.pickup": ("extension",),
    "incoming.after": ("disposition",),
    "incoming.evaluation": ("evaluation_mark",),
    "outgoing.before": ("extension", "dst"),
    "outgoing.pickup": ("dst",),
    "outgoing.after": ("disposition",),
}


class Watch:
    """Follows the calls from now on, as user "pbxhub" of asterisk-conf/."""

    def __init__(self, pbx: Asterisk) -> None:
        self.pbx = pbx
        self.reports: list[CallReport] = []
        self._tracker = Tracker([INCOMING_CONTEXT])
        self._lock = threading.Lock()
        self.stream = AmiStream(pbx.address, HUB_USER, self._hear)

    def _hear(self, block: str) -> None:
        message = parse(block, time.time())
        if message is not None:
            with self._lock:
                self.reports += self._tracker.feed(message)

    def stages_so_far(self) -> list[Stage]:
        with self._lock:
            return [stage for report in self.reports for stage in report.stages]

    def calls(self, count: int = 1) -> list[list[Stage]]:
        """Waits until so many calls with stages are over and the PBX is idle; their stages in order, call by call."""

        def over() -> dict[str, list[Stage]]:
            with self._lock:
                calls: dict[str, list[Stage]] = {}
                for report in self.reports:
                    if report.stages:
                        calls.setdefault(report.linkedid, []).extend(report.stages)
                ended = {report.linkedid for report in self.reports if report.ended_on}
                assert self._tracker.live_calls == 0, f"calls go on: {[_lines(call) for call in calls.values()]}"
                assert len(calls) >= count, f"{len(calls)} calls of {count}"
                assert ended >= set(calls), "a call has no end"
                return calls

        self.pbx.wait_idle()
        calls = list(await_until(over).values())
        assert len(calls) == count, f"{len(calls)} calls instead of {count}: {[_lines(call) for call in calls]}"
        return calls

    def story(self) -> list[str]:
        """The one call, a line for each stage, when it is over."""
        return _lines(self.calls(1)[0])

    def close(self) -> None:
        self.stream.close()


def _lines(stages: list[Stage]) -> list[str]:
    """Two rings next to each other come in any order: Asterisk rings them at once."""
    lines: list[str] = []
    for stage in stages:
        line = " ".join([stage.name, *(str(stage.values.get(name)) for name in _SHOWN[stage.name])])
        lines.append(line)
        while (
            len(lines) > 1
            and lines[-2].startswith("incoming.forward ring")
            and "forward ring" in line
            and line < lines[-2]
        ):
            lines[-2], lines[-1] = lines[-1], lines[-2]
    return lines
