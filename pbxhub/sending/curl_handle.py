"""One libcurl easy handle, set up for webhooks: what may be sent, how much is read, which addresses are allowed."""

import re
import socket
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import IO

import certifi
import pycurl

from pbxhub import __version__
from pbxhub.sending.answer_charset import in_utf8
from pbxhub.sending.curl_failures import Ended, answer_of_failure, answer_of_status
from pbxhub.sending.exchange import MAX_BODY, SYSTEM_TLS, Answer, Outgoing, TlsOptions
from pbxhub.sending.resolver import ResolvedName
from pbxhub.sending.target_url import Address, Target, path_and_query
from pbxhub.sending.upload import Upload
from pbxhub.webhooks.request import Request

MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 100

_USER_AGENT = f"pbxhub/{__version__}"
_AUTHORITIES = ssl.get_default_verify_paths().cafile or certifi.where()
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}", re.ASCII)
_UNSENDABLE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_RESERVED = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "keep-alive"}
)

AddressCheck = Callable[[str, int], bool]


def unsendable(request: Request) -> str:
    """Why a request cannot be sent as it is, as a sentence; "" when it can."""
    if not _TOKEN.fullmatch(request.method):
        return "The method is not a valid HTTP method."
    if all(_is_name(name) and not _UNSENDABLE.search(value) for name, value in request.headers):
        return ""
    return next(filter(None, (_header_error(name, value) for name, value in request.headers)))


def _header_error(name: str, value: str) -> str:
    if not _is_name(name):
        return f"The header {name[:60]!r} has a name that HTTP does not allow or that the hub sets itself."
    bad = _UNSENDABLE.search(value)
    if not bad:
        return ""
    kind = (
        "characters that no header can carry" if bad.group() > "\xff" else "a line break or another control character"
    )
    return f"The value of the header {name} contains {kind}."


@lru_cache(maxsize=4096)
def _is_name(name: str) -> bool:
    lower = name.lower()
    return bool(_TOKEN.fullmatch(name)) and lower not in _RESERVED and not lower.startswith("proxy-")


class _Handed(socket.socket):
    """A socket for libcurl. pycurl duplicates its descriptor and drops the object: this descriptor is closed then."""

    def __del__(self) -> None:
        self.close()


class CurlHandle:
    """Call load(), run the transfer, then read failure() or answer(). One request at a time."""

    def __init__(self, share: pycurl.CurlShare, tls: TlsOptions, tls_versions: dict[int, str]) -> None:
        """share: the connections of one pool. tls_versions: their TLS versions by libcurl's connection id."""
        self.easy = pycurl.Curl()
        self._tls_versions = tls_versions
        self._tls_version = ""
        self._allowed: AddressCheck = _nowhere
        self._into: IO[bytes] | None
        self._upload: Upload | None
        self._clear()
        _set_rules(self.easy)
        _set_tls(self.easy, tls)
        self.easy.setopt(pycurl.SHARE, share)
        self.easy.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        self.easy.setopt(pycurl.HEADERFUNCTION, self._take_header)
        self.easy.setopt(pycurl.WRITEFUNCTION, self._take_body)
        self.easy.setopt(pycurl.DEBUGFUNCTION, self._take_note)
        self.easy.setopt(pycurl.READFUNCTION, self._give_part)
        self.easy.setopt(pycurl.SEEKFUNCTION, self._give_again)

    def load(
        self,
        outgoing: Outgoing,
        target: Target,
        found: ResolvedName | None,
        seconds: float,
        dns_us: int,
        allowed: AddressCheck,
    ) -> None:
        """Prepares the handle for one request that passed unsendable().

        found: the addresses of target.host; libcurl uses no others. None for a literal address.
        seconds: the rest of the deadline; dns_us: how much of it the lookup took.
        allowed: called with the address of every new connection.
        """
        self._clear()
        self._dns_us = dns_us
        self._allowed = allowed
        self._room, self._into = outgoing.most_body, outgoing.into
        setopt = self.easy.setopt
        setopt(pycurl.URL, target.origin)
        setopt(pycurl.REQUEST_TARGET, path_and_query(outgoing.request.url))
        setopt(pycurl.TIMEOUT_MS, max(1, round(seconds * 1000)))
        setopt(pycurl.RESOLVE, [_pinned(target, found.addresses)] if found else [])
        setopt(pycurl.HTTPHEADER, _header_lines(outgoing.request.headers))
        setopt(pycurl.VERBOSE, target.scheme == "https")
        self._upload = outgoing.upload
        _set_body(self.easy, outgoing.request.method, outgoing.request.body, outgoing.upload)

    def answer(self) -> Answer:
        """The answer of a successful transfer."""
        return answer_of_status(self._ended())

    def failure(self, code: int, text: str) -> Answer:
        """The answer of a transfer that ended with a libcurl error."""
        return answer_of_failure(self._ended(), code, text)

    def close(self) -> None:
        """Frees the handle; its connections belong to the share."""
        self.easy.close()

    def _ended(self) -> Ended:
        headers = self._pairs()
        return Ended(
            self.easy, headers, in_utf8(bytes(self._body), headers), self._tls(), self._dns_us, self._fault,
            blocked=self._blocked, flooded=self._flooded, cut=self._cut,
        )  # fmt: skip

    def _clear(self) -> None:
        self._lines: list[bytes] = []
        self._body = bytearray()
        self._room, self._into = MAX_BODY, None
        self._upload = None
        self._header_bytes = 0
        self._dns_us = 0
        self._fault = ""
        self._blocked = self._flooded = self._cut = False

    def _open_socket(self, purpose: int, address: pycurl.CurlSockAddr) -> socket.socket | int:
        ip, port = str(address.addr[0]), address.addr[1]
        if self._blocked or address.family not in (socket.AF_INET, socket.AF_INET6) or not self._allowed(ip, int(port)):
            self._blocked = True
            return pycurl.SOCKET_BAD
        try:
            opened = socket.socket(address.family, address.socktype, address.protocol).detach()
        except OSError as error:
            self._fault = f"This server cannot open a connection: {error.strerror}."
            return pycurl.SOCKET_BAD
        return _Handed(address.family, address.socktype, address.protocol, opened)

    def _take_header(self, line: bytes) -> int:
        if line.startswith(b"HTTP/"):
            self._lines.clear()  # the previous lines were a 1xx answer
        self._header_bytes += len(line)
        self._lines.append(line)
        if len(self._lines) > MAX_HEADERS + 2 or self._header_bytes > MAX_HEADER_BYTES:
            self._flooded = True
            return 0
        return len(line)

    def _give_part(self, most: int) -> bytes | int:
        """The next bytes of the upload. Runs on the sending thread: reads a little from the disk at a time."""
        if self._upload is None:
            return b""
        try:
            return self._upload.read(most)
        except OSError as error:
            self._fault = f"({error.strerror or error})"
            return pycurl.READFUNC_ABORT

    def _give_again(self, offset: int, origin: int) -> int:
        """libcurl sends again from the start when a kept connection turned out to be closed."""
        if self._upload is None or offset or origin:
            return pycurl.SEEKFUNC_CANTSEEK
        self._upload.rewind()
        return pycurl.SEEKFUNC_OK

    def _take_body(self, part: bytes) -> int:
        read = part[: self._room]
        self._room -= len(read)
        if self._into is None:
            self._body += read
        elif not self._keep(self._into, read):
            return 0
        self._cut = len(read) < len(part)
        return len(read)

    def _keep(self, into: IO[bytes], part: bytes) -> bool:
        """False: the disk does not take it, and libcurl ends the transfer."""
        try:
            into.write(part)
        except OSError as error:
            self._fault = f"({error.strerror or error})"
        return not self._fault

    def _take_note(self, kind: int, text: bytes) -> None:
        if kind == pycurl.INFOTYPE_TEXT and text.startswith(b"SSL connection using "):
            self._tls_version = text.split()[3].decode("ascii", "replace")

    def _pairs(self) -> tuple[tuple[str, str], ...]:
        pairs = (line.decode("latin-1").partition(":") for line in self._lines[1:] if len(line) > 2)
        return tuple((name.strip(), value.strip()) for name, _, value in pairs)

    def _tls(self) -> str:
        if not self._tls_version and not self._tls_versions:
            return ""
        connection: int = self.easy.getinfo(pycurl.CONN_ID)
        if self._tls_version:
            self._tls_versions[connection] = self._tls_version
            self._tls_version = ""
        return self._tls_versions.get(connection, "")


def _set_rules(easy: pycurl.Curl) -> None:
    """Sets the options of every request, so that the process's environment does not matter."""
    easy.setopt(pycurl.NOSIGNAL, 1)
    easy.setopt(pycurl.NOPROXY, "*")
    easy.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
    easy.setopt(pycurl.FOLLOWLOCATION, 0)
    easy.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    easy.setopt(pycurl.PATH_AS_IS, 1)
    easy.setopt(pycurl.USERAGENT, _USER_AGENT)
    easy.setopt(pycurl.MAXAGE_CONN, 60)


def _set_tls(easy: pycurl.Curl, tls: TlsOptions) -> None:
    easy.setopt(pycurl.SSL_VERIFYPEER, 1)
    easy.setopt(pycurl.SSL_VERIFYHOST, 2)
    easy.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
    if tls.ca:
        easy.setopt(pycurl.CAINFO_BLOB, tls.ca.encode())
    else:
        easy.setopt(pycurl.CAINFO, _AUTHORITIES)
    if tls != SYSTEM_TLS and tls.certificate:
        easy.setopt(pycurl.SSLCERT_BLOB, tls.certificate.encode())
        easy.setopt(pycurl.SSLKEY_BLOB, tls.key.encode())


def _set_body(easy: pycurl.Curl, method: str, body: bytes, upload: Upload | None) -> None:
    """HTTPGET, POST and UPLOAD reset what an earlier request of the handle set."""
    if upload:
        easy.setopt(pycurl.UPLOAD, 1)
        easy.setopt(pycurl.INFILESIZE_LARGE, upload.length)
    elif body or method in _WITH_BODY:
        easy.setopt(pycurl.POST, 1)
        easy.setopt(pycurl.POSTFIELDS, body)
    else:
        easy.setopt(pycurl.HTTPGET, 1)
        easy.setopt(pycurl.NOBODY, method == "HEAD")
    easy.setopt(pycurl.CUSTOMREQUEST, method)


def _header_lines(headers: tuple[tuple[str, str], ...]) -> list[bytes]:
    """The headers for libcurl: "name;" for an empty value; "name:" suppresses a header that libcurl would add."""
    lines = [f"{name}: {value}".encode("latin-1") if value else f"{name};".encode() for name, value in headers]
    names = [name.lower() for name, _ in headers]
    lines += [line for name, line in _ADDED if name not in names]
    return lines


_ADDED = (
    ("accept", b"Accept:"), ("content-type", b"Content-Type:"), ("expect", b"Expect:"),  # what libcurl would add
    ("accept-encoding", b"Accept-Encoding: identity"),  # an answer is read and shown as it comes
)  # fmt: skip


def _pinned(target: Target, addresses: tuple[Address, ...]) -> str:
    listed = ",".join(f"[{address}]" if address.version == 6 else str(address) for address in addresses)
    return f"{target.host}:{target.port}:{listed}"


def _nowhere(_ip: str, _port: int) -> bool:
    return False
