"""Who asks, by which scheme and under which path, when reverse proxies stand between: the same for pages and API.

TLS ends before us: links in mail and secure cookies need the scheme of the public address, which the settings say and
no header. Limits of sign-ins and of keys and the audit log need the browser's address. Anybody can send
X-Forwarded-For, so only a proxy of the operator's is believed.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pbxhub.settings import Network

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# an address as proxies write it: alone, with the port it spoke from, IPv6 in brackets or not
_WRITTEN = re.compile(r'"?(?:\[([^\]]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+)(?::\d+)?|([0-9A-Fa-f:.]+))"?')


def seen_from_outside(inner: Wsgi, scheme: str, proxies: Sequence[Network]) -> Wsgi:
    """The application as if the browser had asked it directly. It must be the outermost one."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.url_scheme"] = scheme
        peer, forwarded = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
        environ["REMOTE_ADDR"] = browser_address(peer, forwarded, proxies)
        return inner(environ, start_response)

    return application


def under_path(inner: Wsgi, prefix: str) -> Wsgi:
    """The application under the path of the public address, "/pbx" for https://host/pbx; every link it makes begins
    with it. Whether the proxy keeps the path or takes it off makes no difference."""
    if not prefix:
        return inner

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == prefix or path.startswith(f"{prefix}/"):
            environ["PATH_INFO"] = path[len(prefix) :] or "/"
        environ["SCRIPT_NAME"] = prefix
        return inner(environ, start_response)

    return application


def browser_address(peer: str, forwarded: str, proxies: Sequence[Network]) -> str:
    """The last address of the chain that is not one of the proxies, in one spelling; the peer's where it is none.

    Each proxy adds whom it heard at the end: what stands before the last stranger is that stranger's own word.
    """
    heard = [] if not proxies else forwarded.split(",")
    nearest = _address(peer)
    while nearest and any(nearest in network for network in proxies) and heard and (before := _address(heard.pop())):
        nearest = before
    return str(nearest) if nearest else peer


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """IPv4 inside of IPv6 is the IPv4 address: a socket for both reports it in this form."""
    written = _WRITTEN.fullmatch(text.strip())
    try:
        found = ipaddress.ip_address(next(filter(None, written.groups()))) if written else None
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found
