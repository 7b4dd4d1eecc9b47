"""What leaves the tracker: the stages of a call and what is known of the call at that moment.

Stages and when they fire: incoming.before, .forward, .pickup, .after, .evaluation; outgoing.before, .pickup, .after.
A call between two extensions has none of these; it is reported once, when it is over.
Optional stages are reported only where a webhook waits for them: a ring group of 300 phones has 300 more of them.
Both classes are named tuples, because a frozen dataclass takes three times as long to make.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple

CALL_STAGES = (
    "incoming.before",
    "incoming.forward",
    "incoming.pickup",
    "incoming.after",
    "incoming.evaluation",
    "outgoing.before",
    "outgoing.pickup",
    "outgoing.after",
)

OPTIONAL_STAGES = (
    "incoming.unring",
    "incoming.abandoned",
    "call.voicemail",
    "call.hold",
    "call.unhold",
    "internal.before",
    "internal.pickup",
    "internal.after",
)

Direction = Literal["incoming", "outgoing", "internal"]
JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
Value = None | bool | int | float | str | datetime | list["Value"] | dict[str, "Value"]


class Stage(NamedTuple):
    """One stage of one call, once per (call, name, key).

    key: tells two stages of one name apart, whoever reports them: "" for before and after, the destination for forward,
         the extension for incoming.pickup ("103", the second time "103#2"; "" for outgoing.pickup), the number of the
         mark for evaluation; for optional stages the uniqueid of the leg that stopped ringing, the queue, the number of
         the hold, or the extension that picked up. It does not contain the hop, because a tracker that missed a
         transfer counts hops differently.
    ordinal: 1, 2, 3 … among the stages of this name in this call, in the order they fired.
    time: Asterisk's own timestamp of the event behind it, aware, UTC.
    values: what AMI has reported so far, by catalogue name (webhooks/catalogue.py); times are aware datetimes.
    """

    name: str
    key: str
    ordinal: int
    time: datetime
    values: Mapping[str, Value]


class CallReport(NamedTuple):
    """What the history keeps of a call, with the stages that just fired (none when only the history changed).

    ended_on: None until the very end, because the caller may still give marks after incoming.after. The last report of
              a call may have no stages.
    memory: the tracker's notes on a call in progress, as JSON, for Tracker.restore after a restart. Empty once the call
            is over. None: this tracker does not follow the call (it was read from CEL).
    by_cel: for a call read from CEL, "name key" of all its stages, with their times in seconds since 1970: a stage that
            was reported live with another number or key than CEL gives it is recognised by them. Empty for a call
            reported live.
    """

    linkedid: str
    direction: Direction
    caller: str
    caller_name: str
    dst: str
    extension: str
    started_on: datetime
    answered_on: datetime | None
    ended_on: datetime | None
    disposition: str
    values: Mapping[str, Value]
    stages: tuple[Stage, ...] = ()
    memory: Mapping[str, JSON] | None = {}
    by_cel: Mapping[str, float] = {}
