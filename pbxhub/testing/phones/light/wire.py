"""SIP messages as text: composes what a phone sends, and extracts parts of what it receives (see SipMessage)."""

import re
import secrets
from collections.abc import Iterable
from hashlib import md5

from pbxhub.testing.phones.sip_trace import SipMessage

_COPIED = {"via", "v", "from", "f", "call-id", "i", "cseq"}
_CHALLENGE = re.compile(r'(\w+)="?([^",]+)"?')


class UnansweredRequestError(AssertionError):
    """The PBX sent no response to a request, however often it was repeated."""


def token() -> str:
    """A random text for a tag, branch or Call-ID."""
    return secrets.token_hex(8)


def compose(first_line: str, headers: Iterable[str], body: str = "", content_type: str = "application/sdp") -> str:
    """A complete SIP message."""
    typed = [f"Content-Type: {content_type}"] if body else []
    return "\r\n".join([first_line, *headers, *typed, f"Content-Length: {len(body.encode())}", "", body])


def reply(request: SipMessage, status: str, tag: str = "", *headers: str, body: str = "") -> str:
    """The response to a request; status is "200 OK"."""
    lines = request.text.partition("\r\n\r\n")[0].split("\r\n")[1:]
    kept = [line for line in lines if line.partition(":")[0].strip().lower() in _COPIED]
    to = request.header("To") or ""
    tagged = to if ";tag=" in to or not tag else f"{to};tag={tag}"
    return compose(f"SIP/2.0 {status}", [*kept, f"To: {tagged}", *headers], body)


def status_of(message: SipMessage) -> int:
    """The status of a response, such as 200; 0 for a request."""
    first = message.first_line
    return int(first[8:11]) if first.startswith("SIP/2.0 ") else 0


def method_of(message: SipMessage) -> str:
    """The method of a request, or of the request that a response answers: INVITE …"""
    if status_of(message):
        return (message.header("CSeq") or "").rpartition(" ")[2]
    return message.first_line.partition(" ")[0]


def branch_of(message: SipMessage) -> str:
    """The branch, which identifies the request that a response answers."""
    found = re.search(r";branch=([^;,\s]+)", message.header("Via") or "")
    return found[1] if found else ""


def user_of(address: str) -> str:
    """The user part of an address: 101 in "Anna" <sip:101@host>."""
    found = re.search(r"sips?:([^@;>]+)@", address)
    return found[1] if found else ""


def address_in(header: str) -> str:
    """The address in a Contact header."""
    found = re.search(r"<([^>]+)>", header)
    return found[1] if found else header.partition(";")[0].strip()


def authorization(challenge: SipMessage, method: str, uri: str, user: str, password: str) -> str:
    """The header that answers a 401 or 407 (RFC 2617: MD5, with qop when requested)."""
    proxy = status_of(challenge) == 407
    asked = dict(_CHALLENGE.findall(challenge.header("Proxy-Authenticate" if proxy else "WWW-Authenticate") or ""))
    ha1, ha2 = _md5(f"{user}:{asked['realm']}:{password}"), _md5(f"{method}:{uri}")
    fields = f'username="{user}", realm="{asked["realm"]}", nonce="{asked["nonce"]}", uri="{uri}", algorithm=MD5'
    if "qop" in asked:
        own = token()
        response = _md5(f"{ha1}:{asked['nonce']}:00000001:{own}:auth:{ha2}")
        fields += f', qop=auth, nc=00000001, cnonce="{own}"'
    else:
        response = _md5(f"{ha1}:{asked['nonce']}:{ha2}")
    if "opaque" in asked:
        fields += f', opaque="{asked["opaque"]}"'
    return f'{"Proxy-Authorization" if proxy else "Authorization"}: Digest {fields}, response="{response}"'


def _md5(text: str) -> str:
    return md5(text.encode()).hexdigest()  # noqa: S324 - SIP's digest knows no other


def offer(address: str, port: int, direction: str = "sendrecv") -> str:
    """A session description: one audio stream, PCMU."""
    lines = ["v=0", f"o=- 1 {port} IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0"]
    lines += [f"m=audio {port} RTP/AVP 0 101", "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000"]
    return "\r\n".join([*lines, "a=fmtp:101 0-16", "a=ptime:20", f"a={direction}", ""])


def voice_address(message: SipMessage) -> tuple[str, int] | None:
    """The address to which a session description asks for audio."""
    host, port = re.search(r"^c=IN IP4 (\S+)", message.text, re.M), re.search(r"^m=audio (\d+)", message.text, re.M)
    return (host[1], int(port[1])) if host and port else None
