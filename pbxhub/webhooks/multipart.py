"""Writes a parameter tree as multipart/form-data (RFC 7578)."""

import hashlib
from typing import Any

from pbxhub.webhooks.attached import FilePart, type_of_file
from pbxhub.webhooks.encoders import leaves_of
from pbxhub.webhooks.rendering import Context, to_bytes

_ESCAPED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


def multipart(value: Any, context: Context) -> bytes:
    """One part for each leaf, nested names as in a form. The boundary goes into context.content_type. It is a hash of
    the parts and of the key of the marks: no value and no file can contain it."""
    parts = [_part(name, leaf, context) for name, leaf in leaves_of(value)]
    digest = hashlib.sha256(context.file_key.encode())
    for part in parts:
        digest.update(part)
    boundary = f"pbxhub-{digest.hexdigest()[:40]}"
    context.content_type = f"multipart/form-data; boundary={boundary}"
    line = boundary.encode()
    return b"".join(b"--" + line + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + line + b"--\r\n"


def _part(name: str, leaf: Any, context: Context) -> bytes:
    head = f'Content-Disposition: form-data; name="{name.translate(_ESCAPED)}"'
    if not isinstance(leaf, FilePart):
        return to_bytes(f"{head}\r\n\r\n{context.text(leaf)}")
    named = f'{head}; filename="{leaf.file_name.translate(_ESCAPED)}"'
    return to_bytes(f"{named}\r\nContent-Type: {type_of_file(leaf.file_name)}\r\n\r\n{leaf.mark}")
