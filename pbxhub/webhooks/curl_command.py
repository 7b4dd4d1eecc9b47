"""A request as a curl command that can be pasted into a shell, whatever is in the data."""

import shlex
from collections.abc import Iterable, Iterator, Sequence

from pbxhub.webhooks.attached import Attached, file_name_of, recording_in


def as_curl(
    method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes, files: Sequence[Attached] = ()
) -> str:
    """POSIX shell, everything quoted. Give it headers and a URL without secrets. Bytes that are no text are sent
    through printf, because a shell argument cannot carry them. files: a recording is read from the current folder."""
    options = [f"-X {shlex.quote(method)}", *(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers)]
    if not body:
        return _lines("curl", options, url)
    if recording_in(files):
        return f"{{ {'; '.join(_pieces(body, files))}; }} | " + _lines("curl", [*options, "--data-binary @-"], url)
    if (text := _readable(body)) is not None:
        return _lines("curl", [*options, f"--data-raw {shlex.quote(text)}"], url)
    return f"{_printed(body)} | " + _lines("curl", [*options, "--data-binary @-"], url)


def _pieces(body: bytes, files: Sequence[Attached]) -> Iterator[str]:
    """The commands that write the body, the recording included."""
    start = 0
    for one in files:
        if one.size:
            continue
        yield _printed(body[start : one.at])
        yield _READ[one.coding].format(file=shlex.quote(f"./{file_name_of(one.name)}"))
        start = one.at
    yield _printed(body[start:])


def _printed(part: bytes) -> str:
    if (text := _readable(part)) is not None:
        return f"printf '%s' {shlex.quote(text)}"
    return "printf '" + "".join(f"\\{byte:03o}" for byte in part) + "'"


def _readable(part: bytes) -> str | None:
    try:
        text = part.decode()
    except UnicodeDecodeError:
        return None
    return None if "\x00" in text else text


_READ = {
    "raw": "cat {file}",
    "base64": "base64 {file} | tr -d '\\n'",
    "form": "base64 {file} | tr -d '\\n' | sed 's/+/%2B/g; s,/,%2F,g; s/=/%3D/g'",
}


def _lines(program: str, options: list[str], url: str) -> str:
    return " \\\n  ".join([f"{program} {shlex.quote(url)}", *options])
