"""A request as a curl command that can be pasted into a shell, whatever is in the data."""

import shlex
from collections.abc import Iterable


def as_curl(method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> str:
    """POSIX shell, everything quoted. Give it headers and a URL without secrets. Bytes that are no text are sent
    through printf, because a shell argument cannot carry them."""
    options = [f"-X {shlex.quote(method)}", *(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers)]
    if not body:
        return _lines("curl", options, url)
    try:
        text = body.decode()
        readable = "\x00" not in text
    except UnicodeDecodeError:
        readable = False
    if readable:
        return _lines("curl", [*options, f"--data-raw {shlex.quote(text)}"], url)
    escaped = "".join(f"\\{byte:03o}" for byte in body)
    return f"printf '{escaped}' | " + _lines("curl", [*options, "--data-binary @-"], url)


def _lines(program: str, options: list[str], url: str) -> str:
    return " \\\n  ".join([f"{program} {shlex.quote(url)}", *options])
