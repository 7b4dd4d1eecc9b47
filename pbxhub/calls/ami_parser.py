"""Reads AMI events as messages. parse() is the border: whatever arrives, only clean, bounded text passes.

A message has only the headers that the tracker reads, each found in the text by name: building a table of all headers
first would take three times as long.
"""

from collections.abc import Callable, Mapping

from pbxhub.calls.ami_events import (
    AttendedTransfer,
    BlindTransfer,
    Bridge,
    Cdr,
    DialBegin,
    DialEnd,
    FeatureKey,
    FullyBooted,
    Hangup,
    HangupRequest,
    Hold,
    Message,
    MixMonitorStart,
    Newchannel,
    Newstate,
    ParkedCall,
    Party,
    Pickup,
    QueueCaller,
    Shutdown,
    Status,
    UnParkedCall,
    UserEvent,
)
from pbxhub.calls.ami_headers import (
    MissingError,
    fields_of,
    known_of,
    must_of,
    number_of,
    path_of,
    text_and_rest,
    text_of,
    time_of,
    unless_hidden,
    variables_of,
    whole,
)

_CANCELLED = "487"  # SIP's answer to a caller who hangs up before the call is answered
_LONGEST_BLOCK = 65536


def parse(block: str, received: float = 0.0) -> Message | None:
    """One AMI block (header lines, CRLF or LF) as a message; None when it is not of interest or unreadable.

    received: time of arrival in seconds since 1970, used when the block carries no usable Timestamp.
    Never raises. Of a repeated header the first counts.
    """
    block = block.replace("\r", "")
    if len(block) > _LONGEST_BLOCK:
        block = block[: block.rfind("\n", 0, _LONGEST_BLOCK)]
    block = f"\n{block}\n"
    read = _READERS.get(block.partition("\nEvent: ")[2].partition("\n")[0])
    if read is None:
        return None
    try:
        return read(block, time_of(block, received))
    except MissingError:
        return None


def _party_reader(prefix: str) -> Callable[[str], Party]:
    """Reads the channel whose headers begin with this prefix."""
    uniqueid, linkedid, name = f"\n{prefix}Uniqueid: ", f"\n{prefix}Linkedid: ", f"\n{prefix}Channel: "
    context, number = f"\n{prefix}Context: ", f"\n{prefix}CallerIDNum: "

    def read(block: str) -> Party:
        channel, rest = text_and_rest(block, name)
        shown, rest = text_and_rest(rest, number)
        where, rest = text_and_rest(rest, context)
        own, rest = text_and_rest(rest, uniqueid)
        linked = text_of(rest, linkedid)
        if not linked:  # in another order than Asterisk's
            own, linked = text_of(block, uniqueid), text_of(block, linkedid)
            shown, where = text_of(block, number), text_of(block, context)
        if not own or not channel:
            raise MissingError(prefix)
        return Party(own, linked or own, channel, where, unless_hidden(shown))

    return read


_channel, _dest, _target = _party_reader(""), _party_reader("Dest"), _party_reader("Target")
_transferer, _transferee = _party_reader("Transferer"), _party_reader("Transferee")
_original, _second = _party_reader("OrigTransferer"), _party_reader("SecondTransferer")
_parkee, _retriever = _party_reader("Parkee"), _party_reader("Retriever")


def _ids(block: str) -> tuple[str, str]:
    uniqueid, linkedid, _ = _ids_and_rest(block)
    return uniqueid, linkedid


def _ids_and_rest(block: str) -> tuple[str, str, str]:
    """Uniqueid, linkedid, and what follows: Asterisk writes what is special about an event behind its channel."""
    uniqueid, rest = text_and_rest(block, "\nUniqueid: ")
    if not uniqueid:
        raise MissingError("Uniqueid")
    linkedid, rest = text_and_rest(rest, "\nLinkedid: ")
    if not linkedid:  # in another order than Asterisk's
        linkedid, rest = text_of(block, "\nLinkedid: "), block
    return uniqueid, linkedid or uniqueid, rest


def _dialler_and_rest(block: str) -> tuple[str, str, str]:
    """The same of a dial, which has no dialler when Asterisk itself dials."""
    uniqueid, rest = text_and_rest(block, "\nUniqueid: ")
    linkedid, rest = text_and_rest(rest, "\nLinkedid: ")
    if "\nDestLinkedid: " not in rest:  # in another order than Asterisk's
        linkedid, rest = text_of(block, "\nLinkedid: "), block
    return uniqueid, linkedid, rest


def _newchannel(block: str, time: float) -> Newchannel:
    state, exten = text_of(block, "\nChannelStateDesc: "), text_of(block, "\nExten: ")
    return Newchannel(time, _channel(block), state, exten, known_of(block, "\nCallerIDName: "), variables_of(block))


def _newstate(block: str, time: float) -> Newstate | None:
    state = text_of(block, "\nChannelStateDesc: ")
    if state not in ("Ring", "Up", "Busy"):
        return None
    return Newstate(time, _channel(block), text_of(block, "\nExten: "), state == "Busy")


def _parked_call(block: str, time: float) -> ParkedCall:
    parker = text_of(block, "\nParkerDialString: ")
    return ParkedCall(time, _parkee(block), must_of(block, "\nParkingSpace: "), parker)


def _dial_begin(block: str, time: float) -> DialBegin:
    uniqueid, linkedid, rest = _dialler_and_rest(block)
    number, dial_string = number_of(block, "\nCallerIDNum: "), text_of(rest, "\nDialString: ")
    return DialBegin(time, uniqueid, linkedid, number, _dest(rest), dial_string)


def _dial_end(block: str, time: float) -> DialEnd:
    uniqueid, linkedid, rest = _dialler_and_rest(block)
    return DialEnd(time, uniqueid, linkedid, _dest(rest), text_of(rest, "\nDialStatus: "), text_of(rest, "\nForward: "))


def _bridge_enter(block: str, time: float) -> Bridge:
    bridge, kind = text_of(block, "\nBridgeUniqueid: "), text_of(block, "\nBridgeType: ")
    uniqueid, linkedid = _ids(block)
    return Bridge(time, uniqueid, linkedid, variables_of(block), bridge, kind)


def _bridge_leave(block: str, time: float) -> Bridge:
    uniqueid, linkedid = _ids(block)
    return Bridge(time, uniqueid, linkedid, variables_of(block))


def _hangup_request(block: str, time: float) -> HangupRequest:
    uniqueid, linkedid, rest = _ids_and_rest(block)
    state, sip = text_of(block, "\nChannelStateDesc: "), text_of(rest, "\nTechCause: ")
    refused = state == "Busy" or (state != "Up" and sip >= "400" and sip != _CANCELLED)
    return HangupRequest(time, uniqueid, linkedid, refused, text_of(block, "\nExten: "), state == "Up")


def _hangup(block: str, time: float) -> Hangup:
    uniqueid, linkedid, rest = _ids_and_rest(block)
    cause, cause_text = whole(text_of(rest, "\nCause: ")), text_of(rest, "\nCause-txt: ")
    return Hangup(time, uniqueid, linkedid, cause, cause_text, variables_of(block))


def _feature_key(block: str, time: float) -> FeatureKey | None:
    if text_of(block, "\nDigit: ") not in ("*", "#") or text_of(block, "\nDirection: ") != "Received":
        return None
    return FeatureKey(time, *_ids(block))


def _blind_transfer(block: str, time: float) -> BlindTransfer | None:
    if text_of(block, "\nResult: ") != "Success":
        return None
    return BlindTransfer(time, _transferer(block), _transferee(block), must_of(block, "\nExtension: "))


def _attended_transfer(block: str, time: float) -> AttendedTransfer | None:
    if text_of(block, "\nResult: ") != "Success":
        return None
    return AttendedTransfer(
        time,
        _original(block),
        number_of(block, "\nOrigTransfererConnectedLineNum: "),
        _second(block),
        number_of(block, "\nSecondTransfererConnectedLineNum: "),
        text_of(block, "\nTransferTargetUniqueid: "),
        text_of(block, "\nDestType: ") == "App",
        text_of(block, "\nSecondTransfererExten: "),
    )


def _user_event(block: str, time: float) -> UserEvent:
    return UserEvent(time, *_ids(block), must_of(block, "\nUserEvent: "), fields_of(block))


def _status(block: str, time: float) -> Status:
    hours, minutes, seconds = ["0", "0", *text_of(block, "\nDuration: ").split(":")][-3:]
    dnid = text_of(block, "\nDNID: ")
    return Status(
        time,
        _channel(block),
        text_of(block, "\nChannelStateDesc: "),
        dnid,
        dnid or text_of(block, "\nExten: "),
        known_of(block, "\nCallerIDName: "),
        number_of(block, "\nConnectedLineNum: "),
        text_of(block, "\nBridgeID: ") or text_of(block, "\nBridgeId: "),
        whole(text_of(block, "\nSeconds: ")) or whole(hours) * 3600 + whole(minutes) * 60 + whole(seconds),
        text_of(block, "\nApplication: "),
        variables_of(block),
    )


_READERS: Mapping[str, Callable[[str, float], Message | None]] = {
    "Newchannel": _newchannel,
    "Newstate": _newstate,
    "DialBegin": _dial_begin,
    "DialEnd": _dial_end,
    "BridgeEnter": _bridge_enter,
    "BridgeLeave": _bridge_leave,
    "HangupRequest": _hangup_request,
    "Hangup": _hangup,
    "DTMFEnd": _feature_key,
    "BlindTransfer": _blind_transfer,
    "AttendedTransfer": _attended_transfer,
    "Pickup": lambda block, time: Pickup(time, _channel(block), _target(block)),
    "Hold": lambda block, time: Hold(time, *_ids(block), True),
    "Unhold": lambda block, time: Hold(time, *_ids(block), False),
    "ParkedCall": _parked_call,
    "UnParkedCall": lambda block, time: UnParkedCall(time, _parkee(block), _retriever(block)),
    "QueueCallerJoin": lambda block, time: QueueCaller(time, *_ids(block), must_of(block, "\nQueue: "), "joined"),
    "QueueCallerAbandon": lambda block, time: QueueCaller(time, *_ids(block), must_of(block, "\nQueue: "), "abandoned"),
    "AgentConnect": lambda block, time: QueueCaller(time, *_ids(block), must_of(block, "\nQueue: "), "connected"),
    "MixMonitorStart": lambda block, time: MixMonitorStart(time, *_ids(block), variables_of(block)),
    "UserEvent": _user_event,
    "Cdr": lambda block, time: Cdr(time, must_of(block, "\nUniqueID: "), path_of(block, "\nRecording: ")),
    "FullyBooted": lambda block, time: FullyBooted(time, whole(text_of(block, "\nUptime: "))),
    "Shutdown": lambda block, time: Shutdown(time),
    "Status": _status,
    "CoreShowChannel": _status,
}

EVENTS = frozenset(_READERS)
