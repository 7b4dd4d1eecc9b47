"""One call of a softphone, as the events of baresip tell it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pbxhub.testing.phones.call_quality import Quality, quality_of

State = Literal["idle", "dialing", "ringing", "incoming", "established", "closed"]
_OURS = "Connection reset by user"


@dataclass(slots=True)
class Call:
    """One call as the phone sees it.

    state: dialing (we dial) -> ringing (the far end rings) or incoming (it rings here) -> established -> closed.
    quality: of what was heard, renewed every 5 seconds; None in the first 5.
    reason: why it closed, "486 Busy Here" for example; status_code: 486, None after an ordinary hang-up.
    """

    peer: str
    outgoing: bool
    id: str = ""
    state: State = "dialing"
    reason: str = ""
    status_code: int | None = None
    hung_up_here: bool = False
    answered_with: str = ""  # "603 Decline", when this agent has refused it so
    quality: Quality | None = None
    dtmf: list[str] = field(default_factory=list)

    def hear(self, event: Mapping[str, Any]) -> None:
        """An event of baresip that bears this call's id."""
        kind, param = str(event["type"]), str(event.get("param", ""))
        if kind == "CALL_INCOMING":
            self.state = "incoming"
        elif kind in ("CALL_RINGING", "CALL_PROGRESS"):
            self.state = "ringing"
        elif kind == "CALL_ESTABLISHED":
            self.state = "established"
        elif kind == "CALL_RTCP":
            self.quality = quality_of(event["rtcp_stats"])
        elif kind == "CALL_DTMF_START":
            self.dtmf.append(param)
        elif kind == "CALL_CLOSED":
            reason = self.answered_with or param
            self.reason, self.hung_up_here = reason, bool(self.answered_with) or param == _OURS
            self.status_code = int(reason[:3]) if re.match(r"\d{3} ", reason) else None
            self.state = "closed"
