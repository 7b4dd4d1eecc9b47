"""When a project works: its hours by weekday, and its holidays, in its time zone.

Hours are lines like `mon-fri 09:00-18:00`, `sat 10:00-14:00` or `mon,wed 22:00-06:00`: hours that end before they begin
end on the next day. Holidays are lines like `2026-12-25` or `12-25`, for every year, with a name after it if you like.
No hours begin on a holiday; those that began on the day before go on. A project without hours works on every day that
is no holiday.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from pbxhub.translatable import Sentence, say

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY = "holiday"
MOST_HOURS, MOST_HOLIDAYS = 50, 500
LONGEST_LINE = 100  # characters
_HOURS = re.compile(r"(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)", re.ASCII)
_HOLIDAY = re.compile(r"(?:(\d{4})-)?(\d\d)-(\d\d)(?:\s+\S.*)?", re.ASCII)
_LEAP_YEAR = 2024
_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Hours:
    """Minutes of the day: from start, up to and without end; over midnight when end is not later than start."""

    start: int
    end: int

    def include(self, minute: int) -> bool:
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """Hours that begin on these days, 0 for Monday."""

    days: frozenset[int]
    hours: Hours

    def began(self, local: datetime) -> date | None:
        """The day on which the hours began that include this time; None when they do not include it."""
        minute = minute_of(local)
        if not self.hours.include(minute):
            return None
        began_yesterday = self.hours.start >= self.hours.end and minute < self.hours.end
        day = local.date() - timedelta(days=began_yesterday)
        return day if day.weekday() in self.days else None


@dataclass(frozen=True, slots=True)
class Calendar:
    """Time zone, working hours and holidays of a project. A holiday without a year is of each: year 0."""

    zone: tzinfo = UTC
    hours: tuple[WorkingHours, ...] = ()
    holidays: frozenset[tuple[int, int, int]] = frozenset()

    def local(self, moment: datetime) -> datetime:
        return (moment if moment.tzinfo else moment.replace(tzinfo=self.zone)).astimezone(self.zone)

    def is_holiday(self, day: date) -> bool:
        return bool(self.holidays & {(day.year, day.month, day.day), (0, day.month, day.day)})

    def works_at(self, moment: datetime) -> bool:
        """Whether this is in the working hours."""
        local = self.local(moment)
        began = [each.began(local) for each in self.hours] if self.hours else [local.date()]
        return any(day is not None and not self.is_holiday(day) for day in began)


ALWAYS = Calendar()
"""Works at any time, in UTC."""


def minute_of(local: datetime) -> int:
    """The minute of its day."""
    return local.hour * 60 + local.minute


def calendar(zone: tzinfo, hours: Sequence[str], holidays: Sequence[str]) -> Calendar:
    """From lines that were checked when they were saved."""
    read = (read_working_hours(line) for line in hours)
    days = (read_holiday(line) for line in holidays)
    return Calendar(
        zone,
        tuple(one for one in read if isinstance(one, WorkingHours)),
        frozenset(day for day in days if isinstance(day, tuple)),
    )


def read_hours(text: str) -> Hours | None:
    """From `09:00-18:00`; None for anything else."""
    found = _HOURS.fullmatch(text.strip())
    if not found:
        return None
    start_hour, start_minute, end_hour, end_minute = map(int, found.groups())
    start, end = start_hour * 60 + start_minute, end_hour * 60 + end_minute
    if start_minute > 59 or end_minute > 59 or start >= _DAY or end > _DAY or start == end:
        return None
    return Hours(start, end)


def read_working_hours(line: str) -> WorkingHours | Sentence:
    """From a line like `mon-fri 09:00-18:00`, or what is wrong with it."""
    days, _, hours = line.strip().lower().partition(" ")
    read = read_hours(hours)
    found = [_days(part) for part in days.split(",")]
    if read is None or not all(found):
        return say("%(line)s is not a line of working hours.", line=repr(line))
    return WorkingHours(frozenset(day for part in found for day in part), read)


def _days(part: str) -> list[int]:
    """`mon` or `mon-fri` as numbers; also over the end of the week: `sat-mon`. Empty when it is neither."""
    first, dash, last = part.partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        return []
    start, end = DAYS.index(first), DAYS.index(last or first)
    return [day % 7 for day in range(start, end + (7 if end < start else 0) + 1)]


def read_holiday(line: str) -> tuple[int, int, int] | Sentence:
    """Year, month and day of a line like `2026-12-25` or `12-25 Christmas`, or what is wrong with it."""
    found = _HOLIDAY.fullmatch(line.strip())
    year, month, day = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    try:
        date(year or _LEAP_YEAR, month, day)
    except ValueError:
        return say("%(line)s is not a day.", line=repr(line))
    return year, month, day
