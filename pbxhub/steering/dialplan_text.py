"""What may be written into an Asterisk dialplan: plain names, and texts that cannot be interpreted.

In a dialplan, `,` separates arguments, `&` adds a destination, `@` adds a context, `;` begins a comment, and `${` and
`$[` are evaluated. Numbers and names must not contain them; in texts they are percent-encoded.
"""

import re

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79}")  # a context, a queue, or a music class
EXTENSION = re.compile(r"[0-9A-Za-z_-]{1,40}")
SOUND = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,79}(/[A-Za-z0-9_][A-Za-z0-9_\-]{0,79}){0,5}")
MAILBOX = re.compile(r"[0-9]{1,20}(@[A-Za-z0-9_\-]{1,40})?")
# PJSIP/101, Local/101@x/nj, DAHDI/g1/555, PJSIP/101/sip:101@192.0.2.4. Asterisk compares it with its members, whatever
# it is, and dials nothing; without the characters of _QUOTED it is one argument in the dialplan.
MEMBER = re.compile(r"[A-Za-z][A-Za-z0-9]{1,15}/[A-Za-z0-9_+*#][A-Za-z0-9_+*#.:/@\-]{0,140}")
VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
LONGEST_VALUE = 1500  # bytes of a channel variable
_QUOTED = re.compile(r"[\x00-\x1f\x7f%,&@;$\"\\|()\[\]{}<>\u0085\u2028\u2029\ud800-\udfff]")


def is_quoted(text: str) -> bool:
    """Whether quote() would return the text unchanged."""
    return not _QUOTED.search(text)


def quote(text: str) -> str:
    """Percent-encodes everything in the text that a dialplan could interpret, as UTF-8.

    `${URIDECODE(${NAME})}` returns the original. Letters of any alphabet, digits and spaces are unchanged.
    """
    return _QUOTED.sub(_percent, text)


def value_text(value: object) -> str:
    """A value as a text for the dialplan: true and false in lower case, "" for none."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def variable_text(value: object) -> str:
    """A value as a channel variable: quoted, of at most LONGEST_VALUE bytes."""
    quoted = quote(value_text(value)[:LONGEST_VALUE]).encode()[:LONGEST_VALUE].decode("utf-8", "ignore")
    cut = quoted.rfind("%", max(0, len(quoted) - 2)) if len(quoted) > 2 else -1
    return quoted[:cut] if cut >= 0 and len(quoted.encode()) >= LONGEST_VALUE - 2 else quoted


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match.group().encode("utf-8", "replace"))
