"""Final answers to an INVITE that baresip cannot give: any status, and 302 with the address to call instead.

baresip answers 486 and nothing else. An answer belongs to a call by its headers, not by who sends it: so this one is
sent from the phone's address, and the 486 that ends the call in baresip itself comes too late to count.
"""

import re
import socket

from pbxhub.testing.phones.baresip import PhoneFailedError
from pbxhub.testing.phones.sip_trace import SipMessage

_REASONS = {
    302: "Moved Temporarily", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout", 410: "Gone",
    480: "Temporarily Unavailable", 484: "Address Incomplete", 486: "Busy Here", 488: "Not Acceptable Here",
    500: "Server Internal Error", 503: "Service Unavailable", 600: "Busy Everywhere", 603: "Decline",
    604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}  # fmt: skip
_ADDED = ("content-length", "contact")


def status_of(status: int, reason: str) -> str:
    """ "603 Decline", with the reason that is usual when none is given. Raises ValueError when it refuses nothing."""
    if not 300 <= status <= 699:
        raise ValueError(f"status={status} does not refuse a call: give 300 to 699; accept() takes it")
    if re.search(r"[\r\n]", reason):
        raise ValueError(f"reason={reason!r} has a line break")
    return f"{status} {reason or _REASONS.get(status, 'Refused')}"


def refuse(ringing: SipMessage, address: str, status: str, contact: str = "") -> None:
    """Sends the final answer to the INVITE that `ringing`, the phone's 180, has answered. Raises PhoneFailedError."""
    if not (ringing.header("Via") or "").startswith("SIP/2.0/UDP"):
        raise PhoneFailedError(f"only a call that came over UDP can be answered {status}; hangup() answers 486 on TCP")
    lines = ringing.text.partition("\r\n\r\n")[0].split("\r\n")[1:]
    kept = [line for line in lines if line.partition(":")[0].strip().lower() not in _ADDED]
    added = [f"Contact: <{contact}>"] if contact else []
    answer = "\r\n".join([f"SIP/2.0 {status}", *kept, *added, "Content-Length: 0", "", ""])
    host, _, port = ringing.target.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind((address, 0))
        wire.sendto(answer.encode(), (host, int(port)))
