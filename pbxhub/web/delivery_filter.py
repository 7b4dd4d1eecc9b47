"""Reads the filters of a list of deliveries from a URL or a form into a selection of the outbox."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import NoReturn

from flask import abort, request
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.deliveries import Listed, listed
from pbxhub.delivery.outbox import Selection
from pbxhub.sending.outcomes import OUTCOMES
from pbxhub.store.delivery_rows import STATES
from pbxhub.web.language import _
from pbxhub.web.paging import Page, page_size, read_uuid, uuid_key
from pbxhub.webhooks.catalogue import STAGES
from pbxhub.wsgi.current import now

FIELDS = ("state", "webhook", "stage", "outcome", "code", "number", "call", "last", "from", "to", "hour")
RANGES = {
    "15m": timedelta(minutes=15), "1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}  # fmt: skip
_LONGEST = 150
_STATUSES = (0, *range(100, 1000))
_YEARS = range(1970, 9999)  # the range that ids, both databases and every time zone support


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """What a list of deliveries shows: the list, its bulk actions and its exports all ask `selection`.

    given: the fields that say something, as they were given, for links and forms. state: only this one, "" for all.
    hour: where the bar begins that was clicked.
    """

    selection: Selection
    given: Mapping[str, str] = field(default_factory=dict)
    state: str = ""
    hour: datetime | None = None

    @classmethod
    def of_request(cls, access: Access, unchecked: bool = False) -> "DeliveryFilter":
        """The filter in the address of the page."""
        return cls.of(request.args, access, unchecked)

    @classmethod
    def of(cls, fields: Mapping[str, str], access: Access, unchecked: bool = False) -> "DeliveryFilter":
        """The filter among the arguments of an address or the fields of a form. unchecked: of the error page.

        A value that is none ends the request with 400 and a sentence that names the field.
        """
        given = {name: text for name in FIELDS if (text := fields.get(name, "").strip())}
        read, zone = _Reader(given), access.zone
        hour, (since, until) = read.hour(), read.time_range(zone)
        call = read.text("call", _("Call id"))
        call_id = read_uuid(call)
        selection = Selection(
            webhook_id=read.number("webhook", _("Webhook"), range(1, 2**31), _("Choose one from the list.")),
            stage=read.choice("stage", _("Stage"), STAGES),
            outcome=read.choice("outcome", _("Reason"), OUTCOMES),
            status_code=read.number(
                "code", _("HTTP status code"), _STATUSES, _("A number from 100 to 999, or 0: no answer.")
            ),
            number=read.text("number", _("Phone number")),
            country=access.project.country,
            call_id=call_id,
            linkedid="" if call_id else call,
            since=max((moment for moment in (since, hour) if moment), default=None),
            until=min((moment for moment in (until, hour and hour + timedelta(hours=1)) if moment), default=None),
            unchecked=unchecked,
        )
        return cls(selection, given, read.choice("state", _("Outcome"), STATES), hour)

    @property
    def active(self) -> bool:
        """Whether the filter excludes anything."""
        return bool(self.given)

    def page(self, session: Session, project_id: int) -> Page[Listed]:
        """One page of the list, newest first."""
        size = page_size()
        rows = listed(session, project_id, self.selection, self.state, uuid_key(), size + 1)
        return Page(rows[:size], str(rows[size - 1].delivery.id) if len(rows) > size else "")

    def shown_by(self, moment: datetime) -> Selection:
        """The failures that a page rendered at that moment has shown, without later ones."""
        return replace(self.selection, failed_by=moment)


def times_of(fields: Mapping[str, str], zone: tzinfo) -> tuple[datetime | None, datetime | None]:
    """What the time-range picker says: from when, and until when. A value that is none ends the request with 400."""
    given = {name: text for name in ("last", "from", "to") if (text := fields.get(name, "").strip())}
    return _Reader(given).time_range(zone)


def moment_of(text: str, label: str) -> datetime:
    """The aware time in a text from our own pages; a damaged text ends the request with 400 and a sentence."""
    moment = _Reader({"": text}).moment("", label, aware=True)
    return moment or _wrong(label, text, "")


@dataclass(frozen=True, slots=True)
class _Reader:
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
        if not value.isascii() or not value.isdigit() or len(value) > 10 or int(value) not in allowed:
            _wrong(label, value, hint)
        return int(value)

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
        try:
            moment = datetime.fromisoformat(value.replace(" ", "+") if aware else value)  # "+" may come as a space
        except ValueError:
            moment = None
        if moment is None or moment.year not in _YEARS or (moment.tzinfo is not None) != aware:
            _wrong(label, value, "" if aware else _("Write it like 2026-11-28T10:30."))
        return moment


def _wrong(label: str, value: str, hint: str) -> NoReturn:
    said = _("%(field)s: “%(value)s” cannot be used.", field=label, value=value[:40])
    abort(400, f"{said} {hint}".strip())
