"""Callers' names that are not UTF-8: some phones, gateways and CRMs send them in their country's charset."""

from collections.abc import Mapping

CHARSETS = (
    "windows-1251", "koi8-u", "koi8-r", "iso-8859-5", "cp866", "windows-1250", "iso-8859-2", "windows-1252",
    "iso-8859-1", "iso-8859-15", "windows-1253", "windows-1254", "windows-1255", "windows-1256", "windows-1257",
    "windows-1258", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr", "tis-620",
)  # fmt: skip
"""The charsets that may be set; all of them contain ASCII."""

_OF_COUNTRIES: Mapping[str, str] = dict.fromkeys(
    ("UA", "RU", "BY", "KZ", "KG", "TJ", "TM", "UZ", "MD", "MN", "BG", "MK"), "windows-1251"
)


def charset_of(setting: str, country: str) -> str:
    """The charset of a PBX: the one that is set, otherwise that of the project's country (ISO 3166)."""
    return setting or _OF_COUNTRIES.get(country, "iso-8859-1")


def decode(data: bytes, charset: str) -> str:
    """Text from Asterisk: each line as UTF-8, or in this charset when it is not UTF-8.

    A line that Asterisk has cut in the middle of a character still counts as UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "\n".join(_decode_line(line, charset) for line in data.split(b"\n"))


def _decode_line(line: bytes, charset: str) -> str:
    bare = line.rstrip(b"\r")
    try:
        return bare.decode() + "\r" * (len(line) - len(bare))
    except UnicodeDecodeError as error:
        is_cut = error.reason == "unexpected end of data" and not bare[: error.start].isascii()
        return line.decode("utf-8" if is_cut else charset, "replace")
