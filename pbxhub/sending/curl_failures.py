"""Converts libcurl's result codes and phase times into an Answer with a code from outcomes.py."""

import errno
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pycurl

from pbxhub.sending.exchange import Answer
from pbxhub.sending.outcomes import BLOCKED_TARGET, FILE_UNREADABLE, describe
from pbxhub.webhooks.answer_verdict import code_of_status

_BLOCKED_MESSAGE = describe(BLOCKED_TARGET).sentence

_CODES: Mapping[int, str] = {
    pycurl.E_COULDNT_RESOLVE_HOST: "dns_not_found",
    pycurl.E_COULDNT_CONNECT: "connect_refused",
    pycurl.E_GOT_NOTHING: "reset",
    pycurl.E_RECV_ERROR: "reset",
    pycurl.E_SEND_ERROR: "reset",
    pycurl.E_PARTIAL_FILE: "reset",
    pycurl.E_SSL_CONNECT_ERROR: "tls_error",
    pycurl.E_PEER_FAILED_VERIFICATION: "tls_error",
    pycurl.E_SSL_CERTPROBLEM: "tls_error",
    pycurl.E_SSL_CIPHER: "tls_error",
    pycurl.E_SSL_CACERT_BADFILE: "tls_error",
    pycurl.E_SSL_ISSUER_ERROR: "tls_error",
    pycurl.E_SSL_INVALIDCERTSTATUS: "tls_error",
    pycurl.E_HTTP2: "bad_answer",
    pycurl.E_ABORTED_BY_CALLBACK: FILE_UNREADABLE,
    pycurl.E_WRITE_ERROR: FILE_UNREADABLE,
}

# message of libcurl or OpenSSL -> a sentence that the user can act on
_TLS_WORDS = (
    ("self-signed certificate in certificate chain", "Its certificate comes from an authority that is not trusted."),
    ("self-signed certificate", "Its certificate is self-signed."),
    ("certificate has expired", "Its certificate has expired."),
    ("certificate is not yet valid", "Its certificate is not valid yet. Check the clock of this server, too."),
    ("unable to get local issuer", "The authority of its certificate is not trusted, or the chain is incomplete."),
    ("does not match target host", "Its certificate is for another host name."),
    ("no alternative certificate subject name", "Its certificate is for another host name."),
    ("wrong version number", "It does not use TLS on this port; try http instead of https."),
    ("packet length too long", "It does not use TLS on this port; try http instead of https."),
    ("protocol version", "It offers only TLS versions that are no longer safe (1.2 or newer is needed)."),
    ("unsupported protocol", "It offers only TLS versions that are no longer safe (1.2 or newer is needed)."),
    ("certificate required", "It requires a client certificate."),
    ("could not parse PEM", "The certificate or the key set in this webhook cannot be read."),
    ("unable to set", "The certificate or the key set in this webhook cannot be used."),
)  # fmt: skip

_TLS_BROKEN = ("SYSCALL", "reset by peer", "closed abruptly", "unexpected eof")
_TOO_LARGE = 100  # CURLE_TOO_LARGE: libcurl's own limit for headers

_UNREACHABLE = {
    errno.EHOSTUNREACH: "There is no route to this address.",
    errno.ENETUNREACH: "This server has no network for that kind of address (IPv4 or IPv6).",
}


def blocked(reason: str = "") -> Answer:
    """The answer for a forbidden target. It is the same for every reason that depends on the address."""
    return Answer(BLOCKED_TARGET, reason or _BLOCKED_MESSAGE)


@dataclass(frozen=True, slots=True)
class Ended:
    """A finished transfer. blocked, flooded, cut: the hub ended it because of the address, the headers, the long body.

    dns_us: microseconds of the lookup before libcurl started. fault: why this machine could not open a socket.
    """

    easy: pycurl.Curl
    headers: tuple[tuple[str, str], ...]
    body: bytes
    tls_version: str
    dns_us: int
    fault: str
    blocked: bool
    flooded: bool
    cut: bool


def answer_of_status(ended: Ended, missing: str = "") -> Answer:
    """The answer with its HTTP status. missing: which part of the body is missing."""
    status: int = ended.easy.getinfo(pycurl.RESPONSE_CODE)
    code = code_of_status(status)
    location = next((value for name, value in ended.headers if name.lower() == "location"), "")
    leads_to = f"Location: {location[:300]}" if 300 <= status < 400 and location else ""
    note = " ".join(filter(None, (leads_to, missing)))
    message = f"{describe(code, status).sentence} {note}".strip()
    return _with_phases(ended, code, message, status, truncated=bool(missing), note=note)


def answer_of_failure(ended: Ended, code: int, text: str) -> Answer:
    """The answer for a failed transfer. code, text: libcurl's."""
    if ended.blocked:
        return blocked()
    if ended.flooded or code == _TOO_LARGE:
        return _failed(ended, "too_many_headers", "")
    if ended.cut:
        return answer_of_status(ended, "Only the first 64 KB of the answer were read.")
    outcome = _outcome(ended.easy, code, text)
    if outcome == "reset" and ended.easy.getinfo(pycurl.RESPONSE_CODE) >= 200:
        return answer_of_status(ended, "The connection broke before the end of the answer.")
    if code == pycurl.E_WRITE_ERROR:
        return replace(_failed(ended, outcome, ended.fault), note=ended.fault)
    return _failed(ended, outcome, ended.fault or _particulars(ended.easy, outcome, text))


def _outcome(easy: pycurl.Curl, code: int, text: str) -> str:
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return "deadline" if easy.getinfo(pycurl.CONNECT_TIME_T) else "connect_timeout"
    if code == pycurl.E_SSL_CONNECT_ERROR and any(words in text for words in _TLS_BROKEN):
        return "reset"
    return _CODES.get(code, "bad_answer")


def _particulars(easy: pycurl.Curl, outcome: str, text: str) -> str:
    if outcome == "tls_error":
        return next((words for key, words in _TLS_WORDS if key in text), f"({text[:200]})")
    if outcome == "connect_refused":
        return _UNREACHABLE.get(easy.getinfo(pycurl.OS_ERRNO), "")
    return f"({text[:200]})" if outcome == "bad_answer" else ""


def _failed(ended: Ended, outcome: str, particulars: str) -> Answer:
    status: int = ended.easy.getinfo(pycurl.RESPONSE_CODE)
    message = f"{describe(outcome).sentence} {particulars}".strip()
    return _with_phases(ended, outcome, message, status if status >= 200 else None, truncated=bool(ended.body))


def _with_phases(
    ended: Ended, outcome: str, message: str, status: int | None, truncated: bool, note: str = ""
) -> Answer:
    """Adds the phase times. libcurl counts each from the start, so the phases are the differences. On a keep-alive
    connection TCP and TLS are 0."""
    info = ended.easy.getinfo
    connected: int = info(pycurl.CONNECT_TIME_T)
    secured: int = info(pycurl.APPCONNECT_TIME_T)
    first_byte: int = info(pycurl.STARTTRANSFER_TIME_T)
    is_new = bool(info(pycurl.NUM_CONNECTS))
    return Answer(
        outcome, message, status, ended.headers, ended.body, truncated,
        dns_us=ended.dns_us,
        connect_us=(connected or None) if is_new else 0,
        tls_us=(secured - connected if secured else None) if is_new else 0,
        first_byte_us=max(0, first_byte - max(connected, secured)) if first_byte else None,
        total_us=info(pycurl.TOTAL_TIME_T) + ended.dns_us,
        peer=_peer(info(pycurl.PRIMARY_IP), info(pycurl.PRIMARY_PORT)),
        tls_version=ended.tls_version,
        note=note,
    )  # fmt: skip


def _peer(ip: str, port: int) -> str:
    if not ip:
        return ""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
