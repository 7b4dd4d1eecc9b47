"""Recognizes and hides secrets: the one table for pages, API and logs.

There are two kinds: a value whose name marks it as secret (a header, a query parameter, a field in a body or in a log
line), and text with the form of a key (a bot's token in a path, user and password in a URL, "Bearer …").
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from pbxhub.json_depth import TooDeepError, read_any_json

HIDDEN = "•••"

_WORDS = (
    r"(?:authorization|cookie|passw(?:or)?d|passphrase|pwd|secret|token|credential"
    r"|(?:api|access|private|auth|webhook|signing|app|client)[-_]?key)"
)
_BARE = r"(?:key|auth|sig|sign|signature|pass|hash)"  # these mark a secret only as the whole name
# A lookahead finds the word; the name is then matched possessively (++), without backtracking. The time stays
# proportional to the length of the text, even for an endless "tokentokentoken…".
_NAME = rf"(?:(?=[\w.\[\]-]*?{_WORDS})[\w.\[\]-]++|(?:x-(?:[\w-]*-)?)?{_BARE})"
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_SECRET_HEADER = re.compile(rf".*{_WORDS}.*|x-.*-key|x-key|key|auth|x-auth.*", re.IGNORECASE)
_SECRET_QUERY = re.compile(rf"([?&;](?:(?=[^=&;#?]*?{_WORDS})[^=&;#?]++|code|{_BARE})=)[^&;#]*", re.IGNORECASE)
_PARTS = re.compile(r"([^/]*//[^/?#]*)([^?#]*)(.*)", re.DOTALL)
_USER_INFO = re.compile(r"(?<=://)[^/?#@]*@")
# a path segment that is a key: Telegram's botID:KEY, and long runs of letters mixed with digits
_PATH_TOKEN = re.compile(r"(?<=/)(?:bot[0-9]+(?::|%3A)[^/?#]+|(?=[^/?#]*[0-9])(?=[^/?#]*[A-Za-z])[A-Za-z0-9_-]{16,})")
# hosts whose whole path is a key
_HOOK_HOST = re.compile(
    r"(?<=://)((?:hooks\.slack\.com/services|hooks\.zapier\.com/hooks/catch|[^/?#]*\.webhook\.office\.com/webhookb2"
    r"|discord(?:app)?\.com/api/webhooks|hook\.[a-z0-9.]*make\.com|[^/?#]*/rest/[0-9]+)/)[^?#]+",
    re.IGNORECASE,
)
_BITRIX_METHOD = re.compile(r"[^/]+/([a-z][\w.]*(?:\.json|\.xml)?)", re.IGNORECASE)
# secrets inside any text, even a truncated one; each match keeps what is before the value
_URL = re.compile(r"https?:(?:\\?/){2}[^\s\"'<>]+", re.IGNORECASE)
_SCHEME = re.compile(r"\b(Bearer|Basic)(\s+)[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE)
_BOT = re.compile(r"\bbot[0-9]{3,}(?::|%3A)[\w-]+", re.IGNORECASE)
_IN_JSON = re.compile(
    rf"(\\?[\"']{_NAME}\\?[\"']\s*[:=]\s*)(?:(\\?[\"'])(?:[^\"'\\]|\\[^\"'])*|-?[0-9][\w.+-]*)", re.IGNORECASE
)
_REST_OF_JSON = re.compile(  # for a truncated document
    rf"(\\?[\"']{_NAME}\\?[\"']\s*:\s*[\[{{]).*", re.IGNORECASE | re.DOTALL
)
_IN_FORM = re.compile(rf"((?:^|[?&;\s]){_NAME}=)[^&;\s\"'<>]+", re.IGNORECASE)
_IN_XML = re.compile(rf"(<(?:[\w-]+:)?{_NAME}(?:\s[^<>]*)?>)[^<]+", re.IGNORECASE)
_IN_ATTRIBUTE = re.compile(rf"(\s(?:[\w-]+:)?{_NAME}\s*=\s*[\"'])[^\"'<]+", re.IGNORECASE)
_IN_PART = re.compile(  # multipart/form-data
    rf"(\bname=[\"']{_NAME}[\"'][^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n)(?:(?!\r\n--).)+", re.IGNORECASE | re.DOTALL
)
_IN_HEADER = re.compile(rf"(^[ \t]*{_NAME}:[ \t]*)[^\r\n]+", re.IGNORECASE | re.MULTILINE)


def is_secret_name(name: str) -> bool:
    """Whether a field, parameter or log value of this name is a secret."""
    return bool(_SECRET_NAME.fullmatch(name.strip()))


def redact_value(value: Any, name: str = "") -> Any:
    """JSON with its secrets hidden: all values under a secret name, and texts with the form of a key.

    {"name": "X-Key", "value": "…"}, the form of webhook headers and parameters, counts as a field X-Key.
    """
    if is_secret_name(name) and value not in ("", None) and not isinstance(value, (dict, list, tuple, bool)):
        return HIDDEN
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, (list, tuple)):
        return [redact_value(item, name) for item in value]
    if isinstance(value, Mapping):
        own = value.get("name")
        called = own if isinstance(own, str) and is_secret_name(own) else name if is_secret_name(name) else ""
        return {key: redact_value(item, str(key) if not called else _below(called, str(key)))
                for key, item in value.items()}  # fmt: skip
    return value


def _below(called: str, key: str) -> str:
    """The name under which a value inside a secret-named object counts; its configuration fields stay visible."""
    return key if key in _SETTINGS and not is_secret_name(key) else called


_SETTINGS = frozenset({"name", "type", "kind", "empty", "mandatory", "attribute", "operator", "parameter"})


def redact_text(text: str) -> str:
    """Any text (a body, a message, a dump of a request) with its secrets hidden. The text may be truncated."""
    head, blank, body = text.partition("\r\n\r\n")
    if blank:
        return _redact_plain(head) + blank + redact_body(body.encode("utf-8", "replace")).decode()
    return _redact_plain(text)


def _redact_plain(text: str) -> str:
    text = _URL.sub(_redact_found_url, text)
    text = _SCHEME.sub(rf"\1\2{HIDDEN}", text)
    text = _BOT.sub(HIDDEN, text)
    text = _REST_OF_JSON.sub(rf"\g<1>{HIDDEN}", text)
    text = _IN_JSON.sub(lambda match: f"{match[1]}{match[2] or ''}{HIDDEN}", text)
    for pattern in (_IN_PART, _IN_FORM, _IN_XML, _IN_ATTRIBUTE, _IN_HEADER):
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return text


def redact_body(body: bytes) -> bytes:
    """The same for a body. JSON is parsed, so that lists under a secret name are hidden, too; its spacing changes only
    when something is hidden. JSON that is nested too deep to be read is hidden as a whole."""
    text = body.decode("utf-8", "replace")
    try:
        document = read_any_json(text)
    except TooDeepError:
        return HIDDEN.encode()
    except ValueError:
        changed = _redact_plain(text)
    else:
        hidden = redact_value(document)
        if hidden == document:
            return body
        changed = json.dumps(hidden, ensure_ascii=False)
    return body if changed == text else changed.encode("utf-8", "replace")


def _redact_found_url(match: re.Match[str]) -> str:
    """Redacts one URL, also one that JSON has escaped: https:\\/\\/…"""
    found = match.group()
    if "\\/" not in found:
        return redact_url(found)
    plain = redact_url(found.replace("\\/", "/"))
    return plain.replace("/", "\\/")


def redact_headers(headers: Iterable[Iterable[str]], also: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
    """The headers with credentials hidden, also in a URL (Location). also: further secret names, in any letter case."""
    names = {name.lower() for name in also}
    return tuple((name, HIDDEN if _is_secret(name, names) else redact_text(value)) for name, value in headers)


def _is_secret(name: str, also: set[str]) -> bool:
    return name.lower() in also or bool(_SECRET_HEADER.fullmatch(name))


def redact_url(url: str, also: Iterable[str] = ()) -> str:
    """The URL without user name, keys in the path and secrets in the query. also: further secret parameter names."""
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
    """Keeps the method after Bitrix24's key readable: /rest/1/KEY/crm.lead.add.json."""
    rest = match.group()[len(match.group(1)) :]
    method = _BITRIX_METHOD.fullmatch(rest) if "/rest/" in match.group(1) else None
    return f"{match.group(1)}{HIDDEN}/{method.group(1)}" if method else match.group(1) + HIDDEN


def scrub(text: str, secrets: Iterable[str]) -> str:
    """The text without the given secrets, in any encoding. For messages and dumps.

    Secrets shorter than four characters are not hidden: hiding "1" everywhere would make every text unreadable.
    """
    for form in _forms(secrets):
        text = text.replace(form, HIDDEN)
    return text


def scrub_bytes(data: bytes, secrets: Iterable[str]) -> bytes:
    """scrub for bodies: a receiver may echo the request."""
    for form in _forms(secrets):
        data = data.replace(form.encode(), HIDDEN.encode())
    return data


def _forms(secrets: Iterable[str]) -> list[str]:
    """Each secret plain, percent-encoded, form-encoded and in base64; longest first, so that no part remains."""
    forms = set()
    for secret in secrets:
        if len(secret) >= 4:
            forms |= {secret, quote(secret, safe=""), quote_plus(secret)}
            forms.add(base64.b64encode(secret.encode()).decode())
    return sorted(forms, key=len, reverse=True)
