"""Reads the fields of a filter from a URL or a form, one by one. The first that is wrong ends the request with 400 and
a sentence that names it."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import NoReturn

from flask import abort

from pbxhub.account.filter_values import RANGES, moment_in, number_in
from pbxhub.web.language import _
from pbxhub.wsgi.current import now

_LONGEST = 150


def times_of(fields: Mapping[str, str], zone: tzinfo) -> tuple[datetime | None, datetime | None]:
    """What the time-range picker says: from when, and until when."""
    given = {name: text for name in ("last", "from", "to") if (text := fields.get(name, "").strip())}
    return FieldReader(given).time_range(zone)


def moment_of(text: str, label: str) -> datetime:
    """The aware time in a text from our own pages; a damaged text ends the request with 400 and a sentence."""
    moment = FieldReader({"": text}).moment("", label, aware=True)
    return moment or _wrong(label, text, "")


@dataclass(frozen=True, slots=True)
class FieldReader:
    """Reads fields one by one; the first that is wrong ends the request."""

    given: Mapping[str, str]

    def text(self, name: str, label: str) -> str:
        value = self.given.get(name, "")
        if len(value) > _LONGEST:
            _wrong(label, value, _("At most %(n)s characters.", n=_LONGEST))
        return value

    def choice(self, name: str, label: str, allowed: Container[str]) -> str:
        value = self.given.get(name, "")
        if value and value not in allowed:
            _wrong(label, value, _("Choose one from the list."))
        return value

    def number(self, name: str, label: str, allowed: Container[int], hint: str) -> int | None:
        value = self.given.get(name)
        if value is None:
            return None
        number = number_in(value, allowed)
        return _wrong(label, value, hint) if number is None else number

    def time(self, name: str, label: str, zone: tzinfo, fold: int) -> datetime | None:
        """fold: which one, of an hour that the clock goes through twice: the first for `from`, the second for `to`."""
        moment = self.moment(name, label, aware=False)
        return moment and moment.replace(tzinfo=zone, fold=fold)

    def time_range(self, zone: tzinfo) -> tuple[datetime | None, datetime | None]:
        """The last minutes or days up to now, or from one time to another in the zone of the project."""
        since, until = self.time("from", _("From"), zone, 0), self.time("to", _("To"), zone, 1)
        last = RANGES.get(self.choice("last", _("Time"), RANGES))
        return (now() - last, until) if last else (since, until)

    def hour(self) -> datetime | None:
        return self.moment("hour", _("Hour"), aware=True)

    def moment(self, name: str, label: str, aware: bool) -> datetime | None:
        value = self.given.get(name)
        if value is None:
            return None
        moment = moment_in(value, aware=aware)
        if moment is None:
            _wrong(label, value, "" if aware else _("Write it like 2026-11-28T10:30."))
        return moment


def _wrong(label: str, value: str, hint: str) -> NoReturn:
    said = _("%(field)s: “%(value)s” cannot be used.", field=label, value=value[:40])
    abort(400, f"{said} {hint}".strip())
