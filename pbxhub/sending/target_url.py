"""Parses a webhook's URL with a strict grammar, so that no two parsers can disagree about the host.

libcurl gets a URL that is rebuilt from the parts found here.
"""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import idna

from pbxhub.translatable import say

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<rest>.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class UnusableTarget:
    """Why a URL or an address is not used: a sentence for the user."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a URL. host: ASCII (an IDN as xn--…) without brackets. address: set when host is an address.

    origin: scheme://host:port for libcurl, IPv6 in brackets.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    address: Address | None
    origin: str


def read_target(url: str) -> Target | UnusableTarget:
    """The target of an absolute http or https URL, or why it is not one."""
    match = _URL.fullmatch(url)
    if not match:
        return UnusableTarget(say("The URL must begin with http:// or https:// and name a host."))
    if _UNPRINTABLE.search(url):
        return UnusableTarget(say("The URL contains a space or a control character; write %20 for a space."))
    if "\\" in url:
        return UnusableTarget(say("The URL contains a backslash, which programs read differently. Use / instead."))
    if "#" in url:
        return UnusableTarget(
            say("The URL contains #; the part after it is never sent. Write %23 for the character itself.")
        )
    return _read_origin(match["scheme"].lower(), match["authority"])


def path_and_query(url: str) -> str:
    """Path and query of a URL that read_target accepts, at least "/". Non-ASCII becomes percent-encoded UTF-8."""
    match = _URL.fullmatch(url)
    rest = match["rest"] if match else ""
    if not rest.isascii():
        rest = "".join(c if c.isascii() else "".join(f"%{byte:02X}" for byte in c.encode()) for c in rest)
    return rest if rest.startswith("/") else f"/{rest}"


@lru_cache(maxsize=4096)
def _read_origin(scheme: str, authority: str) -> Target | UnusableTarget:
    if scheme not in ("http", "https"):
        return UnusableTarget(say("%(scheme)s: cannot be used for a webhook. Use http or https.", scheme=scheme))
    if "@" in authority:
        return UnusableTarget(
            say("The URL contains a user name or @ before the host; enter them under Authentication instead.")
        )
    match = _AUTHORITY.fullmatch(authority)
    if not match:
        return UnusableTarget(say("The host or the port of the URL cannot be read."))
    port = int(match["port"] or {"http": 80, "https": 443}[scheme])
    if not 0 < port < 65536:
        return UnusableTarget(say("The port must be from 1 to 65535."))
    host = read_host(match["host"])
    if isinstance(host, UnusableTarget):
        return host
    name, address = host
    shown = f"[{name}]" if address and address.version == 6 else name
    usual = {"http": 80, "https": 443}[scheme]
    origin = f"{scheme}://{shown}" if port == usual else f"{scheme}://{shown}:{port}"
    return Target("https" if scheme == "https" else "http", name, port, address, origin)


def read_host(text: str) -> tuple[str, Address | None] | UnusableTarget:
    """Reads the host of a URL (IPv6 in brackets): its name and, when it is a literal address, the address."""
    if text.startswith("["):
        return _read_ipv6(text[1:-1])
    name = text if text.isascii() else _to_ascii(text)
    if isinstance(name, UnusableTarget):
        return name
    name = name.removesuffix(".").lower()
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _read_ipv4(name)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return UnusableTarget(say("The host of the URL is not a valid name."))
    return name, None


def _read_ipv4(text: str) -> tuple[str, Address | None] | UnusableTarget:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return UnusableTarget(say("Write an IPv4 address as four plain decimal numbers, 203.0.113.7 for example."))
    return str(address), address


def _read_ipv6(text: str) -> tuple[str, Address | None] | UnusableTarget:
    if "%" in text:
        return UnusableTarget(say("An address with a zone (%…) cannot be used."))
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return UnusableTarget(say("The text in brackets is not an IPv6 address."))
    return str(address), address


def _to_ascii(text: str) -> str | UnusableTarget:
    """The xn-- form of an international name. Refuses digits and dots of other scripts, which could form an address."""
    if any(not c.isascii() and (unicodedata.category(c)[0] == "N" or _means_ascii(c)) for c in text):
        return UnusableTarget(
            say("The host contains digits, dots or letters in a disguised form; write it in plain characters.")
        )
    try:
        return idna.encode(text, uts46=True).decode()
    except idna.IDNAError:
        return UnusableTarget(say("The host of the URL is not a valid international name."))


def _means_ascii(character: str) -> bool:
    return character == "。" or unicodedata.normalize("NFKC", character).isascii()
