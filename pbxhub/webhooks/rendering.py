"""Converts values for a request; the context of one rendering."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from pbxhub.calls.stages import Value
from pbxhub.json_depth import DEEPEST, is_too_deep
from pbxhub.translatable import say
from pbxhub.webhooks.attached import Coding, key_of, mark_of, mark_of_stored
from pbxhub.webhooks.dates import Write

LARGEST_REQUEST = 256 * 1024
_BUDGET = 4 * LARGEST_REQUEST
_SURROGATES = re.compile("[\ud800-\udfff]")


class RenderError(Exception):
    """A value is not valid in its place. The message says what to do; a caller that knows the path adds it by at()."""

    code = "render_error"
    path = ""

    def at(self, path: str) -> "RenderError":
        """The same error with its path. The innermost path counts."""
        self.path = self.path or path
        return self

    @property
    def sentence(self) -> str:
        """The message with its path; a Sentence if the message was made by say()."""
        problem: str = self.args[0]
        return say("%(path)s: %(problem)s", path=self.path, problem=problem) if self.path else problem

    def __str__(self) -> str:
        return str(self.sentence)


class MandatoryError(RenderError):
    """A mandatory field is empty."""

    code = "not_sent_mandatory"


@dataclass(frozen=True, slots=True)
class Fragment:
    """Text that is JSON already: a number with all its digits, or a list or an object from call data."""

    text: str


@dataclass(slots=True)
class Context:
    """One rendering: the values of a call, and the formats of the project's times and numbers.

    left: how many characters values may still produce. This limits the time and memory of a rendering.
    content_type: of the body, where the body decides it.
    """

    values: Mapping[str, Value]
    zone: tzinfo
    country: str
    write_date: Write
    left: int = _BUDGET
    content_type: str = ""

    @property
    def file_key(self) -> str:
        """What the marks of files in this rendering begin with."""
        return key_of(self.values.get("delivery_id"))

    @property
    def recording(self) -> str:
        """The recording of the call, as the PBX reported it; "" without one."""
        return str(self.values.get("recording_file") or "")

    def mark(self, coding: Coding) -> str:
        """Stands for the bytes of the recording."""
        return mark_of(self.file_key, coding)

    def mark_of_own_file(self) -> str:
        """Stands for the bytes of the webhook's own file."""
        return mark_of_stored(self.file_key)

    def date(self, moment: datetime) -> str | int:
        return self.write_date(moment, self.zone)

    def spend(self, text: str) -> str:
        self.charge(len(text))
        return text

    def charge(self, characters: int) -> None:
        self.left -= characters
        if self.left < 0:
            raise RenderError(
                say("the values are too long; a request may have %(most)s KB", most=LARGEST_REQUEST // 1024)
            )

    def text(self, value: Any) -> str:
        """The value as text: booleans as true and false, None as "", lists and objects as JSON."""
        if isinstance(value, str):
            return self.spend(value)
        if value is None:
            return ""
        if value is True or value is False:
            return "true" if value else "false"
        if isinstance(value, int):
            return digits_of(value)
        if isinstance(value, datetime):
            return str(self.date(value))
        if isinstance(value, float):
            return repr(value) if is_finite(value) else ""
        return self.spend(value.text if isinstance(value, Fragment) else self.json(value))

    def json(self, value: Any) -> str:
        """The value as compact JSON; times in the webhook's format, numbers that are not finite as null."""
        if isinstance(value, Fragment):
            return value.text
        if isinstance(value, (list, dict)) and is_too_deep(value):
            raise RenderError(say("the value is nested deeper than %(most)s levels", most=DEEPEST))
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=self._default)
        except ValueError:
            return json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), default=self._default)

    def _default(self, value: object) -> Any:
        return self.date(value) if isinstance(value, datetime) else str(value)


def is_finite(value: float) -> bool:
    return value - value == 0


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if is_finite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def digits_of(number: int) -> str:
    """All digits of a whole number."""
    try:
        return str(number)
    except ValueError:
        raise RenderError(say("the number has more than 4300 digits")) from None


def to_bytes(text: str) -> bytes:
    """The text in UTF-8. An unpaired surrogate, which UTF-8 cannot encode, becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text).encode()
