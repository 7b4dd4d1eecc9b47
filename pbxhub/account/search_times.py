"""The words of time in a search, English or Ukrainian: "101 yesterday afternoon" is 101, and from when until when.

First, words that say the same as others are rewritten into those ("28 November" is 28.11, "noon" is 12:00); then days
are taken out of the text, then hours, and what is left is looked for."""

import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TypeVar

DayT = TypeVar("DayT", bound=date)

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SearchTime:
    """rest: the text without its words of time. since, until: aware, until not included; without since, all that was
    before. missed: only missed calls (store/history.RESULTS)."""

    rest: str
    since: datetime | None
    until: datetime
    missed: bool


@dataclass(frozen=True, slots=True)
class _Days:
    """first: the first day; without it, all that were before. until: the day after the last one. every: after how long
    the same words name other days, as those of a weekday do; a time that is still to come is then the last one."""

    first: date | None
    until: date
    every: timedelta = timedelta()


_Hours = tuple[timedelta, timedelta]
"""From when until when, since the beginning of the day."""
_Times = tuple[datetime | None, datetime]


def _day(back: int) -> Callable[[date], _Days]:
    return lambda today: _Days(today - back * _DAY, today - (back - 1) * _DAY)


def _week(back: int) -> Callable[[date], _Days]:
    def found(today: date) -> _Days:
        monday = today - (today.weekday() + 7 * back) * _DAY
        return _Days(monday, monday + 7 * _DAY)

    return found


def _weekday(number: int, is_before_today: bool) -> Callable[[date], _Days]:
    """The last such day; today counts, unless is_before_today."""

    def found(today: date) -> _Days:
        day = today - ((today.weekday() - number) % 7 or 7 * is_before_today) * _DAY
        return _Days(day, day + _DAY, 7 * _DAY)

    return found


def _weekday_of(back: int, number: int) -> Callable[[date], _Days]:
    """That day of this week or of one before."""
    return lambda today: _day(today.weekday() + 7 * back - number)(today)


def _month(back: int) -> Callable[[date], _Days]:
    def found(today: date) -> _Days:
        first = _months_back(today, back).replace(day=1)
        return _Days(first, (first + 31 * _DAY).replace(day=1))

    return found


def _months_back(day: DayT, count: int) -> DayT:
    """The same day of an earlier month, or the last of a shorter month."""
    year, month = divmod(day.year * 12 + day.month - 1 - count, 12)
    return day.replace(year=year, month=month + 1, day=min(day.day, monthrange(year, month + 1)[1]))


def _words(pattern: str) -> re.Pattern[str]:
    """Whole words, with what leads to them: "in the morning"."""
    return re.compile(
        rf"(?<!\S)(?:(?:on|on the|at|in the|this|[вуз]|на|за|об?) )?(?:{pattern})(?![^\s,])", re.IGNORECASE
    )


_WEEKDAYS = (
    r"monday|понеділ(?:ок|ка|ку|ком)", r"tuesday|вівтор(?:ок|ка|ку|ком)", r"wednesday|серед(?:[ауи]|ою)",
    r"thursday|четвер(?:га|гу|гом)?", r"friday|п['’ʼ]?ятниц(?:[яюі]|ею)", r"saturday|субот(?:[ауи]|ою)",
    r"sunday|неділ(?:[яюі]|ею)",
)  # fmt: skip
_THIS_WEEK = r"this week|ц(?:ього|ьому|ей) тиж(?:день|ня|ні)"
_LAST_WEEK = r"last week|минул(?:ого|ому|ий) тиж(?:день|ня|ні)"
_NAMED: tuple[tuple[str, Callable[[date], _Days]], ...] = (
    (r"the day before yesterday|day before yesterday|позавчора", _day(2)),
    (r"yesterday|[ву]чора", _day(1)),
    (r"today|сьогодні", _day(0)),
    *((rf"(?:{week}),? (?:on |[ву] )?(?:{name})|(?:{name})(?: of|,| на)? (?:{week})", _weekday_of(back, n))
      for back, week in enumerate((_THIS_WEEK, _LAST_WEEK)) for n, name in enumerate(_WEEKDAYS)),
    (_THIS_WEEK, _week(0)),
    (_LAST_WEEK, _week(1)),
    (r"this month|ц(?:ього|ьому|ей) місяц[яіь]", _month(0)),
    (r"last month|минул(?:ого|ому|ий) місяц[яіь]", _month(1)),
    *((rf"(?:last|минул(?:ого|ої|ий|у)) (?:{name})", _weekday(n, True)) for n, name in enumerate(_WEEKDAYS)),
    *((rf"(?:{name})", _weekday(n, False)) for n, name in enumerate(_WEEKDAYS)),
)  # fmt: skip
_MONTH = 30 * _DAY  # only to tell it from the other units: months are counted in the calendar
_UNITS = (
    (r"min(?:ute)?s?|хв(?:илин[аиуі]?)?", timedelta(minutes=1)), (r"hours?|годин[аиуі]?", timedelta(hours=1)),
    (r"days?|день|дні|днів|доб[аиу]", _DAY), (r"weeks?|тиж(?:день|ні|нів)", 7 * _DAY),
    (r"months?|місяц(?:ь|і|ів)", _MONTH),
)  # fmt: skip
_HOW_MANY = r"(?:(\d{1,2}|an?|one) )?"
_AGO = tuple((_words(rf"{_HOW_MANY}(?:{unit}) (?:ago|тому)"), of) for unit, of in _UNITS)
_DATE_FORMS = (r"(19[7-9]\d|20\d\d)-(\d\d?)-(\d\d?)", r"(\d\d?)\.(\d\d?)(?:\.(19[7-9]\d|20\d\d))?\.?")
_ISO, _DOTTED = map(_words, _DATE_FORMS)
_DAYS = tuple((_words(pattern), days_of) for pattern, days_of in _NAMED)
_LONG_AGO = "|".join(unit for unit, of in _UNITS if of >= _DAY)
_ONE_DAY = "|".join(
    (*(pattern for pattern, _ in _NAMED),
     *(re.sub(r"\((?!\?)", "(?:", form) for form in (*_DATE_FORMS, rf"{_HOW_MANY}(?:{_LONG_AGO}) (?:ago|тому)")))
)  # fmt: skip
_TO = r"(?: (?:to|and|until|till|до|по|[ійt]|та|-) | ?– ?|-)"
_FROM_DAY = _words(rf"(?:(?:from|between|since|від|з|із|між) )?({_ONE_DAY}){_TO}({_ONE_DAY})")
_SINCE_DAY = _words(rf"(since|from|починаючи з|від|з|із|after|після) ({_ONE_DAY})")
_UNTIL_DAY = _words(rf"((?<!day )before|перед|until|till|up to|до) ({_ONE_DAY})")

_MONTHS = (
    "jan(?:uary)?|січня", "feb(?:ruary)?|лютого", "mar(?:ch)?|березня", "apr(?:il)?|квітня", "may|травня",
    "june?|червня", "july?|липня", "aug(?:ust)?|серпня", "sept?(?:ember)?|вересня", "oct(?:ober)?|жовтня",
    "nov(?:ember)?|листопада", "dec(?:ember)?|грудня",
)  # fmt: skip
_CLOCK = r"(?<!\S)((?:1[0-2]|0?[1-9])(?::[0-5]\d)?)"
_REWRITTEN = (
    *((_words(rf"(?:from |between |з |від )?(\d\d?){_TO}(\d\d?) (?:{name})(?: (20\d\d))?"), rf"\1.{n}.\3-\2.{n}.\3")
      for n, name in enumerate(_MONTHS, 1)),
    *((_words(rf"(\d\d?)(?:st|nd|rd|th)?(?: of)? (?:{name})(?: (20\d\d))?"), rf"\1.{n}.\2")
      for n, name in enumerate(_MONTHS, 1)),
    *((_words(rf"(?:{name}) (\d\d?)(?:st|nd|rd|th)?(?:,? (20\d\d))?"), rf"\1.{n}.\2")
      for n, name in enumerate(_MONTHS, 1)),
    (_words("last night|минулої ночі"), "yesterday from 18 to 6"),
    (_words("this (morning|afternoon|evening)"), r"today \1"),
    (_words("tonight"), "today evening"),
    (_words("(?:today|сьогодні) (?:at )?(?:night|вночі|уночі)"), "today from 0 to 6"),
    (_words("noon|midday|опівдні"), "12:00"),
    (re.compile(rf"{_CLOCK} ?(?:in the morning|ранку|ночі)(?!\S)", re.IGNORECASE), r"\1am"),
    (re.compile(rf"{_CLOCK} ?(?:in the (?:afternoon|evening)|дня|вечора)(?!\S)", re.IGNORECASE), r"\1pm"),
)  # fmt: skip

_HOUR = r"([01]?\d|2[0-4])(?::([0-5]\d))?(?: ?([ap])\.?m\.?)?"
_BETWEEN = _words(rf"(?:(?:between|from|між|від|з|із) )?{_HOUR}{_TO}{_HOUR}")
_AFTER = _words(rf"(?:after|since|from|після|від|з|із) {_HOUR}")
_BEFORE = _words(rf"(?:before|until|till|до) {_HOUR}")
_AT = _words(rf"(?:(?:at|о|об) )?(?:(?:about|around|близько|біля) )?{_HOUR}")
_LED = re.compile(r"(?:between|from|між|від|з|із) |:|[ap]\.?m", re.IGNORECASE)  # else 10-12 is a part of a number
_AT_LED = re.compile(r"(?:at|об?|about|around|близько|біля) |:|[ap]\.?m", re.IGNORECASE)
_AFTER_LED = re.compile(r"(?:after|since|після) |:|[ap]\.?m", re.IGNORECASE)  # "from 12" may be an extension
_PARTS = (
    (_words("morning|вранці|уранці|зранку|ранку"), 6),
    (_words("afternoon|after lunch|після обіду|по обіді|пополудні|вдень|удень"), 12),
    (_words("evening|ввечері|увечері|вечора"), 18),
)
_PART = timedelta(hours=6)
_NIGHT = _words("night|вночі|уночі")
_NEAR = timedelta(minutes=15)

_LAST = tuple(
    (_words(rf"(?:the )?(?:last|past|остан(?:ні|ню|ній|ня)) (?:(\d{{1,3}}) )?(?:{unit})"), of) for unit, of in _UNITS
)

_MISSED = _words("missed(?: calls?)?|пропущен[іийх]+(?: дзвін(?:ки|ок|ків))?")
_CALLS = re.compile(
    r"^(?:all )?(?:calls?|(?:усі |всі )?дзвін(?:ки|ок|ків))(?: (?:of|from|with|від|з))?(?: |$)", re.IGNORECASE
)
_YEARS_BACK = 9  # a 29 February is at most eight years ago


def read_time(text: str, now: datetime) -> SearchTime | None:
    """What a search says about the time, in the zone of now; None if nothing. Hours without a day are those that began
    last; a weekday is the last one, today included unless its hours are still to come. Hours of several days are no one
    range of time: None."""
    rest = " ".join(text.split())
    for pattern, basic in _REWRITTEN:
        rest = pattern.sub(basic, rest)
    missed, rest = bool(_MISSED.search(rest)), _MISSED.sub("", rest)
    rest, times = _take_range(rest, now) or (rest, None)
    if times is None:
        days, rest = _take_days(rest, now.date())
        hours, rest = _take_hours(rest, is_day_named=days is not None)
        times = _together(days, hours, now)
    if times is None:
        return None
    rest = " ".join(rest.replace(" ,", " ").split()).strip(" ,")
    return SearchTime(_CALLS.sub("", rest), *times, missed)


def _together(days: _Days | None, hours: _Hours | None, now: datetime) -> _Times | None:
    """The range that days and hours make, either of which may be missing."""
    if days is None and hours is None:
        return None
    days = days or _Days(now.date(), now.date() + _DAY, _DAY)
    end = datetime.combine(days.until, time.min, now.tzinfo)
    if days.first is None:
        return None if hours else (None, end)
    since = datetime.combine(days.first, time.min, now.tzinfo)
    if hours:
        if days.until - days.first > _DAY:
            return None
        since, end = since + hours[0], since + hours[1]
    back = days.every if since > now else timedelta()
    return since - back, end - back


def _take_range(text: str, now: datetime) -> tuple[str, _Times] | None:
    """What is counted back from now: "last 3 hours", "2 hours ago". In whole minutes."""
    minute = now.replace(second=0, microsecond=0)
    for pattern, unit in _LAST:
        if (found := pattern.search(text)) and (found[1] or unit < _DAY):  # "last week" is one of the calendar
            return _without(found), (_back(minute, int(found[1] or 1), unit), minute + timedelta(minutes=1))
    for pattern, unit in _AGO:
        if unit < _DAY and (found := pattern.search(text)):
            then = _back(minute, _count(found[1]), unit)
            near = max(unit / 2, timedelta(minutes=5))
            return _without(found), (then - near, min(then + near, minute + timedelta(minutes=1)))
    return None


def _back(moment: datetime, count: int, unit: timedelta) -> datetime:
    """Hours are those that pass, also where the clock changes."""
    if unit == _MONTH:
        return _months_back(moment, count)
    return moment - count * unit if unit >= _DAY else (moment.astimezone(UTC) - count * unit).astimezone(moment.tzinfo)


def _count(written: str | None) -> int:
    return int(written) if written and written.isdigit() else 1


def _take_days(text: str, today: date) -> tuple[_Days | None, str]:
    if (found := _FROM_DAY.search(text)) and (days := _range(found[1], found[2], today)):
        return days, _without(found)
    for pattern, open_days in ((_SINCE_DAY, _since), (_UNTIL_DAY, _until)):
        if (found := pattern.search(text)) and (named := _first_days(found[2], today)):
            return open_days(found[1].lower(), named, today), _without(found)
    for pattern, days_of in _DAYS:
        if found := pattern.search(text):
            return days_of(today), _without(found)
    for pattern, unit in _AGO:
        if unit >= _DAY and (found := pattern.search(text)):
            count = _count(found[1])
            return (_month(count) if unit == _MONTH else _day(count * unit // _DAY))(today), _without(found)
    for pattern in (_ISO, _DOTTED):
        for found in pattern.finditer(text):
            for day in _dates(found.groups(), today, is_iso=pattern is _ISO):
                return _Days(day, day + _DAY), _without(found)
    return None, text


def _range(begin: str, end: str, today: date) -> _Days | None:
    """Weekdays are those of a range that has ended, or ends today."""
    days = _first_days(begin, today)
    last = _end_of(end, today, days.first) if days and days.first else None
    if days is None or days.first is None or last is None:
        return None
    back = 7 * _DAY if days.every and last.every and last.until > today + _DAY else timedelta()
    return _Days(days.first - back, last.until - back)


def _since(word: str, day: _Days, today: date) -> _Days:
    """From that day on, or "after" it: then a weekday is one before today."""
    if word not in ("after", "після"):
        return _Days(day.first, today + _DAY)
    first = day.until - (day.every if day.until > today else timedelta())
    return _Days(min(first, today), today + _DAY)


def _until(word: str, day: _Days, today: date) -> _Days:
    """All "before" that day, or "until" its end."""
    return _Days(None, day.first if word in ("before", "перед") and day.first else day.until)


def _first_days(words: str, today: date) -> _Days | None:
    return _take_days(words, today)[0]


def _end_of(words: str, today: date, first: date) -> _Days | None:
    """The days with which a range ends: not before it begins. "from friday to monday" ends after that friday."""
    for ahead in (today, first + 6 * _DAY, first + 365 * _DAY):
        days = _first_days(words, ahead)
        if days and days.first and days.first >= first:
            return days
    return None


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


def _take_hours(text: str, *, is_day_named: bool) -> tuple[_Hours | None, str]:
    """Since the beginning of the day, and the text without them. The night of a named day is the one it ends with."""
    if found := _sure(_BETWEEN, text, _LED):
        since, until = _both(found.groups())
        return (since, until if until > since else until + _DAY), _without(found)
    for pattern, hour in _PARTS:
        if found := pattern.search(text):
            since = timedelta(hours=hour)
            return (since, since + _PART), _without(found)
    if found := _NIGHT.search(text):
        return (3 * _PART, 5 * _PART) if is_day_named else (timedelta(), _PART), _without(found)
    if found := _sure(_AFTER, text, _AFTER_LED):
        return (_hour(*found.groups()) % _DAY, _DAY), _without(found)
    if found := _BEFORE.search(text):
        return (timedelta(), _hour(*found.groups()) or _DAY), _without(found)
    if found := _sure(_AT, text, _AT_LED):
        return _about(_hour(*found.groups()), is_whole=found[2] is None), _without(found)
    return None, text


def _sure(pattern: re.Pattern[str], text: str, led: re.Pattern[str]) -> re.Match[str] | None:
    """The first match that can be nothing but a time of day: a number alone may be an extension."""
    return next((found for found in pattern.finditer(text) if led.search(found[0])), None)


def _both(written: tuple[str | None, ...]) -> _Hours:
    """In "between 2 and 5pm", both are in the afternoon."""
    since, until = _hour(*written[:3]), _hour(*written[3:])
    afternoon = since + _DAY / 2
    return (afternoon if written[5] and not written[2] and afternoon < until else since), until


def _hour(hour: str | None, minute: str | None, half: str | None) -> timedelta:
    number = int(hour or 0)
    if half:
        number = number % 12 + 12 * (half.lower() == "p")
    return timedelta(hours=number, minutes=int(minute or 0))


def _about(moment: timedelta, is_whole: bool) -> _Hours:
    """ "at 3pm" is the hour that begins then; "at 15:30" a quarter of an hour before and after."""
    return (moment, moment + timedelta(hours=1)) if is_whole else (moment - _NEAR, moment + _NEAR)


def _without(found: re.Match[str]) -> str:
    return found.string[: found.start()] + found.string[found.end() :]
