"""AMI events as typed messages; ami_parser.py reads them.

Header names are Asterisk's own. Numbers and names that Asterisk does not know ("<unknown>") are empty here.
Times are seconds since 1970 from Asterisk's Timestamp (timestampevents=yes), otherwise the time of arrival.
Messages are named tuples: an event makes two or three, and a frozen dataclass takes three times as long to make.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Party(NamedTuple):
    """A channel as an event describes it."""

    uniqueid: str
    linkedid: str
    name: str
    context: str
    number: str


class Newchannel(NamedTuple):
    time: float
    channel: Party
    state: str
    exten: str
    caller_name: str
    variables: Mapping[str, str]


class Newstate(NamedTuple):
    """A channel reached Ring (it dials the PBX) or Up; or Busy: Asterisk has refused what it dialled."""

    time: float
    channel: Party
    exten: str
    refused: bool = False


class DialBegin(NamedTuple):
    """uniqueid is empty when Asterisk itself dials (Originate, the consultation of a feature code)."""

    time: float
    uniqueid: str
    linkedid: str
    number: str
    dest: Party
    dial_string: str


class DialEnd(NamedTuple):
    """forward: where the phone diverted the call to (302)."""

    time: float
    uniqueid: str
    linkedid: str
    dest: Party
    status: str
    forward: str


class Bridge(NamedTuple):
    """BridgeEnter, or BridgeLeave with an empty bridge. A changed Linkedid often shows here first.

    kind: basic for a talk of two; base, parking, agent_hold and others.
    """

    time: float
    uniqueid: str
    linkedid: str
    variables: Mapping[str, str]
    bridge: str = ""
    kind: str = ""


class HangupRequest(NamedTuple):
    """refused: Asterisk has refused the channel (its state is Busy, or SIP answered a failure); nobody has hung up.

    exten: where the channel is in the dialplan: h when that is over. up: the channel was answered.
    """

    time: float
    uniqueid: str
    linkedid: str
    refused: bool = False
    exten: str = ""
    up: bool = True


class Hangup(NamedTuple):
    time: float
    uniqueid: str
    linkedid: str
    cause: int
    cause_text: str
    variables: Mapping[str, str]


class FeatureKey(NamedTuple):
    """A party of the call pressed * or #, of which feature codes consist; the other keys never get here."""

    time: float
    uniqueid: str
    linkedid: str


class BlindTransfer(NamedTuple):
    """A blind transfer that succeeded: by REFER, by feature code or by AMI."""

    time: float
    transferer: Party
    transferee: Party
    extension: str


class AttendedTransfer(NamedTuple):
    """An attended transfer that succeeded.

    connected: whom each of the transferer's two lines was talking to. target: uniqueid of the new party, missing in
    about one of five. to_application: completed while the new party still rings, or with an application of the
    dialplan. second_exten: where the second line is in the dialplan.
    """

    time: float
    original: Party
    original_connected: str
    second: Party
    second_connected: str
    target: str
    to_application: bool
    second_exten: str = ""


class Pickup(NamedTuple):
    """*8: channel takes the call that rings at target."""

    time: float
    channel: Party
    target: Party


class Hold(NamedTuple):
    """Hold (on) or Unhold."""

    time: float
    uniqueid: str
    linkedid: str
    on: bool


class ParkedCall(NamedTuple):
    """parker: the endpoint of whoever parked it, "PJSIP/101"; empty from CEL."""

    time: float
    parkee: Party
    space: str
    parker: str = ""


class UnParkedCall(NamedTuple):
    time: float
    parkee: Party
    retriever: Party


class QueueCaller(NamedTuple):
    """QueueCallerJoin, QueueCallerAbandon or AgentConnect."""

    time: float
    uniqueid: str
    linkedid: str
    queue: str
    what: Literal["joined", "abandoned", "connected"]


class MixMonitorStart(NamedTuple):
    time: float
    uniqueid: str
    linkedid: str
    variables: Mapping[str, str]


class UserEvent(NamedTuple):
    """fields: every header; of a repeated one the first, which is Asterisk's and not the dialplan's."""

    time: float
    uniqueid: str
    linkedid: str
    name: str
    fields: Mapping[str, str]


class Cdr(NamedTuple):
    """Only the recording matters, where cdr_manager.conf maps it."""

    time: float
    uniqueid: str
    recording: str


class FullyBooted(NamedTuple):
    time: float
    uptime: int


class Shutdown(NamedTuple):
    time: float


class Status(NamedTuple):
    """One live channel, from the answer to Action Status or CoreShowChannels.

    dnid: the number dialled from outside; empty for a channel that Asterisk created itself. exten: the same, or the
    channel's current position in the dialplan. seconds: its age.
    """

    time: float
    channel: Party
    state: str
    dnid: str
    exten: str
    caller_name: str
    connected: str
    bridge: str
    seconds: int
    application: str
    variables: Mapping[str, str]


Message = (
    Newchannel
    | Newstate
    | DialBegin
    | DialEnd
    | Bridge
    | HangupRequest
    | Hangup
    | FeatureKey
    | BlindTransfer
    | AttendedTransfer
    | Pickup
    | Hold
    | ParkedCall
    | UnParkedCall
    | QueueCaller
    | MixMonitorStart
    | UserEvent
    | Cdr
    | FullyBooted
    | Shutdown
    | Status
)
