"""Answers in another charset than UTF-8, as older CRMs give them: everything after the sender reads UTF-8."""

import encodings
import pkgutil
import re
from collections.abc import Iterable
from encodings.aliases import aliases

_DECLARED = re.compile(r";\s*charset\s*=\s*[\"']?([^\s;\"']+)", re.IGNORECASE)
_XML = re.compile(rb"^\s*<\?xml[^>]{0,200}?\bencoding\s*=\s*[\"']([A-Za-z][A-Za-z0-9._-]{0,40})[\"']")
_LONGEST = 40  # characters of a charset's name
# Python's modules of charsets; others decode slowly, or not to text
_KNOWN = re.compile(
    r"cp\d+|latin_1|iso8859_\d+|koi8_[rtu]|mac_[a-z0-9]+|utf_(16|32)(_[bl]e)?|gb2312|gbk|gb18030|big5|shift_jis|euc_(jp|kr)"
)
# Python keeps every name that it was ever asked for, so it is asked only for these.
_CODECS = frozenset(one.name for one in pkgutil.iter_modules(encodings.__path__) if _KNOWN.fullmatch(one.name))


def in_utf8(body: bytes, headers: Iterable[tuple[str, str]]) -> bytes:
    """The body in UTF-8, when its Content-Type, or else its XML declaration (RFC 7303), names another charset that is
    known. What the charset does not have becomes U+FFFD."""
    codec = _codec(_of_header(headers) or _of_xml(body))
    if not codec or not body:
        return body
    utf8 = body.decode(codec, "replace").encode("utf-8", "replace")
    if found := _XML.match(utf8):
        return utf8[: found.start(1)] + b"UTF-8" + utf8[found.end(1) :]
    return utf8


def _codec(declared: str) -> str:
    """The name of the codec; "" for none or an unknown one."""
    if len(declared) > _LONGEST:
        return ""
    name = encodings.normalize_encoding(declared).lower()
    codec = aliases.get(name, name)
    return codec if codec in _CODECS else ""


def _of_header(headers: Iterable[tuple[str, str]]) -> str:
    content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
    found = _DECLARED.search(content_type)
    return found.group(1) if found else ""


def _of_xml(body: bytes) -> str:
    found = _XML.match(body)
    return found.group(1).decode("ascii") if found else ""
