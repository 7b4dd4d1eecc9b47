"""A webhook's URL: checked and normalized when it is saved, filled in when it is sent.

Placeholders are allowed in the path and the query, where values are percent-encoded; never in scheme, host and port.
"""

import ipaddress
import re
from dataclasses import dataclass

import idna

from pbxhub.translatable import say
from pbxhub.webhooks.encoders import percent
from pbxhub.webhooks.rendering import Context, RenderError
from pbxhub.webhooks.template import Slot, Template, TemplateError, compile_template

LONGEST_URL = 8192
_PARTS = re.compile(r"(https?)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_TO_ENCODE = re.compile(r"%(?![0-9A-Fa-f]{2})|[^!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]")
_CLIMBING = re.compile(r"(^|/)(\.|%2e){1,2}(?=/|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Url:
    """A compiled URL. origin: scheme, host and port. rest: path and query as a template."""

    origin: str
    rest: Template

    def render(self, context: Context) -> str:
        try:
            rest = self.rest.text(context, percent)
            if self.rest.slots and _CLIMBING.search(rest.partition("?")[0]):
                raise RenderError(say("a value would make a path segment . or .., which leads to another address"))
        except RenderError as error:
            raise error.at("url") from None
        return self.origin + rest


def join_query(url: str, query: str) -> str:
    """The URL with further query parameters appended."""
    if not query:
        return url
    joint = "" if url.endswith(("?", "&")) else "&" if "?" in url else "?"
    return f"{url}{joint}{query}"


def compile_url(text: str) -> Url:
    """Compiles a URL. Raises TemplateError with a sentence for each mistake."""
    compile_template(text)  # for its errors, whose positions count from the beginning of the URL
    match = _PARTS.fullmatch(text.strip())
    if not match:
        raise TemplateError([_no_scheme(text.strip())])
    scheme, authority, rest = match.groups()
    origin = f"{scheme.lower()}://{_authority(authority)}"
    if "\\" in rest or _CONTROL.search(rest):
        raise TemplateError([say("has a backslash or a control character; write %5C for a backslash")])
    return Url(origin, _rest(rest))


def _no_scheme(text: str) -> str:
    if not text:
        return say("is empty; give the address, like https://crm.example.com/calls")
    if text.partition("://")[0].find("<<") >= 0:
        return say("has a parameter in the scheme; parameters are allowed only in the path and the query")
    return say("does not begin with http:// or https://; give the address, like https://crm.example.com/calls")


def _authority(text: str) -> str:
    if "<<" in text:
        raise TemplateError(
            [say("has a parameter in the host or port; parameters are allowed only in the path and the query")]
        )
    if "@" in text:
        raise TemplateError(
            [say("has a user name before the host; enter the user name and password under Authentication")]
        )
    if _CONTROL.search(text) or " " in text:
        raise TemplateError([say("has a backslash, a space or a control character in the host")])
    host, colon, port = (text, "", "") if text.endswith("]") else text.rpartition(":")
    if not colon:
        host, port = text, ""
    if colon and not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
        raise TemplateError([say("has the port %(port)s; give a number from 1 to 65535", port=repr(port))])
    return _host(host) + (f":{int(port)}" if colon else "")


def _host(host: str) -> str:
    """The host in ASCII: IDN as xn--…, IPv6 in brackets, lower case."""
    if host.startswith("["):
        return _ipv6(host)
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError as error:
            raise TemplateError(
                [say("has the host %(host)s, which is not a domain name: %(error)s", host=repr(host), error=error)]
            ) from None
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise TemplateError([say("has the host %(host)s, which is not a domain name or an address", host=repr(host))])
    return host.lower()


def _ipv6(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        address = None
    if address is None or address.scope_id is not None or not host.endswith("]"):
        raise TemplateError(
            [
                say(
                    "has the host %(host)s, which is not an IPv6 address; a scope id (%%) is not allowed",
                    host=repr(host),
                )
            ]
        )
    return f"[{address}]"


def _rest(text: str) -> Template:
    template = compile_template(text if text.startswith("/") else "/" + text)
    literal = template.literal
    if "#" in literal:
        raise TemplateError(
            [say("has a part after #, which HTTP never sends; delete it, or write %23 for the character itself")]
        )
    if _CLIMBING.search(literal.partition("?")[0]):
        raise TemplateError([say("has . or .. as a path segment; give the path it leads to")])
    return Template(tuple(piece if isinstance(piece, Slot) else encode_literal(piece) for piece in template.pieces))


def encode_literal(text: str) -> str:
    """Encodes the user's text in a URL: %XX stays; characters not allowed in a URL are percent-encoded as UTF-8."""
    return _TO_ENCODE.sub(lambda match: percent(match.group()), text)
