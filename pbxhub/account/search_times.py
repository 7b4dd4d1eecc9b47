"""The words of time in a search, English or Ukrainian: "101 yesterday afternoon" is 101, and from when until when."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SearchTime:
    """rest: the text without its words of time. since, until: aware, until not included. missed: only incoming calls in
    which nobody talked."""

    rest: str
    since: datetime
    until: datetime
    missed: bool


@dataclass(frozen=True, slots=True)
class _Days:
    """first: the first day. until: the day after the last one."""

    first: date
    until: date


def _day(back: int) -> Callable[[date], _Days]:
    return lambda today: _Days(today - back * _DAY, today - (back - 1) * _DAY)


def _week(back: int) -> Callable[[date], _Days]:
    def found(today: date) -> _Days:
        monday = today - (today.weekday() + 7 * back) * _DAY
        return _Days(monday, monday + 7 * _DAY)

    return found


def _this_month(today: date) -> _Days:
    first = today.replace(day=1)
    return _Days(first, (first + 31 * _DAY).replace(day=1))


def _last_month(today: date) -> _Days:
    return _this_month(today.replace(day=1) - _DAY)


def _words(pattern: str) -> re.Pattern[str]:
    """Whole words, with what leads to them: "in the morning"."""
    return re.compile(rf"(?<!\S)(?:(?:on|in the|this|[вуз]|на) )?(?:{pattern})(?![^\s,])", re.IGNORECASE)


_DAYS: tuple[tuple[re.Pattern[str], Callable[[date], _Days]], ...] = (
    (_words("the day before yesterday|day before yesterday|позавчора"), _day(2)),
    (_words("yesterday|[ву]чора"), _day(1)),
    (_words("today|сьогодні"), _day(0)),
    (_words("this week|ц(?:ього|ьому) тиж(?:ня|ні)"), _week(0)),
    (_words("last week|минуло(?:го|му) тиж(?:ня|ні)"), _week(1)),
    (_words("this month|ц(?:ього|ьому) місяц[яі]"), _this_month),
    (_words("last month|минуло(?:го|му) місяц[яі]"), _last_month),
)
_HOUR = r"([01]?\d|2[0-4])(?::([0-5]\d))?"
_BETWEEN = _words(rf"(?:between|from|між|від|з) {_HOUR} (?:and|to|[ійt]|та|до) {_HOUR}")
_PARTS = (
    (_words("morning|вранці|уранці|зранку|ранку"), 6),
    (_words("afternoon|після обіду|по обіді|пополудні|вдень|удень"), 12),
    (_words("evening|ввечері|увечері|вечора"), 18),
)
_PART = timedelta(hours=6)
_ISO = _words(r"(19[7-9]\d|20\d\d)-(\d\d?)-(\d\d?)")
_DOTTED = _words(r"(\d\d?)\.(\d\d?)(?:\.(19[7-9]\d|20\d\d))?\.?")
_MISSED = _words("missed(?: calls?)?|пропущен[іийх]+(?: дзвін(?:ки|ок|ків))?")
_YEARS_BACK = 9  # a 29 February is at most eight years ago


def read_time(text: str, now: datetime) -> SearchTime | None:
    """What a search says about the time, in the zone of now; None if nothing. Hours without a day are those that began
    last. Hours of several days are no one range of time: None."""
    rest = " ".join(text.split())
    days, rest = _take_days(rest, now.date())
    hours, rest = _take_hours(rest)
    missed, rest = bool(_MISSED.search(rest)), _MISSED.sub("", rest)
    if days is None and hours is None:
        return None
    first, until = (days.first, days.until) if days else (now.date(), now.date() + _DAY)
    since, end = (datetime.combine(day, time.min, now.tzinfo) for day in (first, until))
    if hours:
        if until - first > _DAY:
            return None
        since, end = since + hours[0], since + hours[1]
        if days is None and since > now:
            since, end = since - _DAY, end - _DAY
    return SearchTime(" ".join(rest.replace(" ,", " ").split()).strip(" ,"), since, end, missed)


def _take_days(text: str, today: date) -> tuple[_Days | None, str]:
    for pattern, days_of in _DAYS:
        if pattern.search(text):
            return days_of(today), pattern.sub("", text, count=1)
    for pattern in (_ISO, _DOTTED):
        for found in pattern.finditer(text):
            for day in _dates(found.groups(), today, is_iso=pattern is _ISO):
                return _Days(day, day + _DAY), text[: found.start()] + text[found.end() :]
    return None, text


def _dates(written: tuple[str | None, ...], today: date, is_iso: bool) -> Iterator[date]:
    """The days that a date can be, newest first: without a year, none that is still to come."""
    year, month, day = written if is_iso else reversed(written)
    years = [int(year)] if year else range(today.year, today.year - _YEARS_BACK, -1)
    for each in years:
        try:
            found = date(each, int(month or 0), int(day or 0))
        except ValueError:
            continue
        if year or found <= today:
            yield found


def _take_hours(text: str) -> tuple[tuple[timedelta, timedelta] | None, str]:
    """Since the beginning of the day, and the text without them."""
    if found := _BETWEEN.search(text):
        hours = [int(part or 0) for part in found.groups()]
        since, until = (timedelta(hours=hours[n], minutes=hours[n + 1]) for n in (0, 2))
        return (since, until if until > since else until + _DAY), text[: found.start()] + text[found.end() :]
    for pattern, hour in _PARTS:
        if pattern.search(text):
            since = timedelta(hours=hour)
            return (since, since + _PART), pattern.sub("", text, count=1)
    return None, text
