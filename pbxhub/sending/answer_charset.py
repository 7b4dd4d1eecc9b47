"""Answers in another charset than UTF-8, as older CRMs give them: everything after the sender reads UTF-8."""

import codecs
import re
from collections.abc import Iterable

_DECLARED = re.compile(r";\s*charset\s*=\s*[\"']?([^\s;\"']+)", re.IGNORECASE)
_XML = re.compile(rb"^\s*<\?xml[^>]{0,200}?\bencoding\s*=\s*[\"']([A-Za-z][A-Za-z0-9._-]{0,40})[\"']")
# by the names of Python's codecs; others decode slowly, or not to text
_KNOWN = re.compile(
    r"cp\d+|iso8859-\d+|koi8-[rtu]|mac-[a-z]+|utf-(16|32)(-[bl]e)?|gb2312|gbk|gb18030|big5|shift_jis|euc_(jp|kr)"
)


def in_utf8(body: bytes, headers: Iterable[tuple[str, str]]) -> bytes:
    """The body in UTF-8, when its Content-Type, or else its XML declaration (RFC 7303), names another charset that is
    known. What the charset does not have becomes U+FFFD."""
    declared = _of_header(headers) or _of_xml(body)
    if not declared or not body:
        return body
    try:
        codec = codecs.lookup(declared).name
    except LookupError:
        return body
    if not _KNOWN.fullmatch(codec):
        return body
    utf8 = body.decode(codec, "replace").encode("utf-8", "replace")
    if found := _XML.match(utf8):
        return utf8[: found.start(1)] + b"UTF-8" + utf8[found.end(1) :]
    return utf8


def _of_header(headers: Iterable[tuple[str, str]]) -> str:
    content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
    found = _DECLARED.search(content_type)
    return found.group(1) if found else ""


def _of_xml(body: bytes) -> str:
    found = _XML.match(body)
    return found.group(1).decode("ascii") if found else ""
