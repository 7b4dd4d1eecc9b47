"""AMI events made by hand: a caller from outside, agents, and the stages that a tracker makes of them."""

from typing import Any

from pbxhub.calls.ami_parser import parse
from pbxhub.calls.tracker import Tracker


def event(name: str, **headers: str) -> str:
    return "".join(f"{header.replace('_', '-')}: {value}\r\n" for header, value in {"Event": name, **headers}.items())


CALLER = {"Channel": "PJSIP/trunk-00000001", "Uniqueid": "1795328662.1", "Linkedid": "1795328662.1"}
CALLER |= {"Context": "from-trunk", "CallerIDNum": "79161234567", "Exten": "5550100", "ChannelStateDesc": "Ring"}
NEW = {**CALLER, "Timestamp": "1795328662.1"}


def agent(extension: str, number: int, linkedid: str = "1795328662.1", prefix: str = "Dest") -> dict[str, str]:
    named = {"Channel": f"PJSIP/{extension}-000000{number:02x}", "Uniqueid": f"1795328662.{number}"}
    named |= {"Linkedid": linkedid, "Context": "from-internal", "CallerIDNum": extension}
    return {f"{prefix}{header}": value for header, value in named.items()}


def stages_of(*blocks: str, tracker: Tracker | None = None) -> list[tuple[str, str, dict[str, Any]]]:
    tracker = tracker or Tracker()
    found = []
    for block in blocks:
        message = parse(block)
        for report in tracker.feed(message) if message is not None else ():
            found.extend((stage.name, stage.key, dict(stage.values)) for stage in report.stages)
    return found


def at(second: float) -> str:
    return f"{1795328662 + second:.6f}"


def answered(extension: str, number: int, second: float) -> list[str]:
    dial = {**CALLER, **agent(extension, number)}
    return [
        event("DialBegin", Timestamp=at(second), **dial, DialString=extension),
        event("DialEnd", Timestamp=at(second + 1), **dial, DialStatus="ANSWER"),
    ]
