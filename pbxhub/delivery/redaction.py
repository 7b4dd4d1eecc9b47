"""Secrets out of everything that is stored beside a delivery, shown on a page, exported or logged."""

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

HIDDEN = "•••"

_WORDS = r"(?:authorization|cookie|passw(?:or)?d|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key)"
_SECRET_HEADER = re.compile(rf".*{_WORDS}.*|x-.*-key|x-key|key|auth|x-auth.*", re.IGNORECASE)
_SECRET_QUERY = re.compile(
    rf"([?&;](?:[^=&;#]*{_WORDS}[^=&;#]*|key|auth|sig|sign|signature|code|pass|hash)=)[^&;#]*", re.IGNORECASE
)
_PARTS = re.compile(r"([^/]*//[^/?#]*)([^?#]*)(.*)", re.DOTALL)
_USER_INFO = re.compile(r"(?<=://)[^/?#@]*@")
# a step of the path that is a key by itself: Telegram's botID:KEY, and long runs of letters mixed with digits
_PATH_TOKEN = re.compile(r"(?<=/)(?:bot[0-9]+(?::|%3A)[^/?#]+|(?=[^/?#]*[0-9])(?=[^/?#]*[A-Za-z])[A-Za-z0-9_-]{16,})")
# hosts whose paths are nothing but a key
_HOOK_HOST = re.compile(
    r"(?<=://)((?:hooks\.slack\.com/services|hooks\.zapier\.com/hooks/catch|[^/?#]*\.webhook\.office\.com/webhookb2"
    r"|discord(?:app)?\.com/api/webhooks|hook\.[a-z0-9.]*make\.com|[^/?#]*/rest/[0-9]+)/)[^?#]+",
    re.IGNORECASE,
)
_BITRIX_METHOD = re.compile(r"[^/]+/([a-z][\w.]*(?:\.json|\.xml)?)", re.IGNORECASE)


def redact_headers(headers: Iterable[tuple[str, str]], also: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
    """The headers with the values of credentials hidden; also: further names, in any letter case."""
    names = {name.lower() for name in also}
    return tuple((name, HIDDEN if _is_secret(name, names) else value) for name, value in headers)


def _is_secret(name: str, also: set[str]) -> bool:
    return name.lower() in also or bool(_SECRET_HEADER.fullmatch(name))


def redact_url(url: str, also: Iterable[str] = ()) -> str:
    """The URL without user name, keys in the path and secrets in the query; also: further names of the query."""
    url = _USER_INFO.sub(f"{HIDDEN}@", url)
    url = _HOOK_HOST.sub(_hide_hook, url)
    url = _redact_path(url)
    url = _SECRET_QUERY.sub(rf"\1{HIDDEN}", url)
    for name in also:
        url = re.sub(rf"([?&;]{re.escape(quote(name, safe=''))}=)[^&;#]*", rf"\1{HIDDEN}", url, flags=re.IGNORECASE)
    return url


def _redact_path(url: str) -> str:
    match = _PARTS.fullmatch(url)
    return match[1] + _PATH_TOKEN.sub(HIDDEN, match[2]) + match[3] if match else url


def _hide_hook(match: re.Match[str]) -> str:
    """Bitrix24's method behind the key stays readable: /rest/1/KEY/crm.lead.add.json."""
    rest = match.group()[len(match.group(1)) :]
    method = _BITRIX_METHOD.fullmatch(rest) if "/rest/" in match.group(1) else None
    return f"{match.group(1)}{HIDDEN}/{method.group(1)}" if method else match.group(1) + HIDDEN


def scrub(text: str, secrets: Iterable[str]) -> str:
    """The text without the given secrets, whichever way they were encoded: for messages and dumps.

    Secrets shorter than four characters are left: hiding "1" everywhere would make every text unreadable.
    """
    for form in _forms(secrets):
        text = text.replace(form, HIDDEN)
    return text


def scrub_bytes(data: bytes, secrets: Iterable[str]) -> bytes:
    """As scrub, for bodies: a receiver may echo what it was sent."""
    for form in _forms(secrets):
        data = data.replace(form.encode(), HIDDEN.encode())
    return data


def _forms(secrets: Iterable[str]) -> list[str]:
    """Plain, percent-encoded, form-encoded, and base64 alone; the longest first, so that no rest stays behind."""
    forms = set()
    for secret in secrets:
        if len(secret) >= 4:
            forms |= {secret, quote(secret, safe=""), quote_plus(secret)}
            forms.add(base64.b64encode(secret.encode()).decode())
    return sorted(forms, key=len, reverse=True)
