"""The words of time in a search, English or Ukrainian: "101 yesterday afternoon" is 101, and from when until when.

First, words that say the same as others are rewritten into those ("28 November" is 28.11, "noon" is 12:00); then days
are taken out of the text, then hours, and what is left is looked for."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

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


_Hours = tuple[timedelta, timedelta]
"""From when until when, since the beginning of the day."""


def _day(back: int) -> Callable[[date], _Days]:
    return lambda today: _Days(today - back * _DAY, today - (back - 1) * _DAY)


def _week(back: int) -> Callable[[date], _Days]:
    def found(today: date) -> _Days:
        monday = today - (today.weekday() + 7 * back) * _DAY
        return _Days(monday, monday + 7 * _DAY)

    return found


def _weekday(number: int, is_before_today: bool) -> Callable[[date], _Days]:
    """The last such day; today counts, unless is_before_today."""
    return lambda today: _day((today.weekday() - number) % 7 or 7 * is_before_today)(today)


def _this_month(today: date) -> _Days:
    first = today.replace(day=1)
    return _Days(first, (first + 31 * _DAY).replace(day=1))


def _last_month(today: date) -> _Days:
    return _this_month(today.replace(day=1) - _DAY)


def _words(pattern: str) -> re.Pattern[str]:
    """Whole words, with what leads to them: "in the morning"."""
    return re.compile(
        rf"(?<!\S)(?:(?:on|on the|at|in the|this|[вуз]|на|за|об?) )?(?:{pattern})(?![^\s,])", re.IGNORECASE
    )


_WEEKDAYS = (
    r"monday|понеділ(?:ок|ка|ку)", r"tuesday|вівтор(?:ок|ка|ку)", r"wednesday|серед[ауи]", r"thursday|четвер(?:га|гу)?",
    r"friday|п['’ʼ]?ятниц[яюі]", r"saturday|субот[ауи]", r"sunday|неділ[яюі]",
)  # fmt: skip
_NAMED: tuple[tuple[str, Callable[[date], _Days]], ...] = (
    (r"the day before yesterday|day before yesterday|позавчора", _day(2)),
    (r"yesterday|[ву]чора", _day(1)),
    (r"today|сьогодні", _day(0)),
    (r"this week|ц(?:ього|ьому|ей) тиж(?:день|ня|ні)", _week(0)),
    (r"last week|минул(?:ого|ому|ий) тиж(?:день|ня|ні)", _week(1)),
    (r"this month|ц(?:ього|ьому|ей) місяц[яіь]", _this_month),
    (r"last month|минул(?:ого|ому|ий) місяц[яіь]", _last_month),
    *((rf"(?:last|минул(?:ого|ої|ий|у)) (?:{name})", _weekday(n, True)) for n, name in enumerate(_WEEKDAYS)),
    *((rf"(?:{name})", _weekday(n, False)) for n, name in enumerate(_WEEKDAYS)),
)
_DATE_FORMS = (r"(19[7-9]\d|20\d\d)-(\d\d?)-(\d\d?)", r"(\d\d?)\.(\d\d?)(?:\.(19[7-9]\d|20\d\d))?\.?")
_ISO, _DOTTED = map(_words, _DATE_FORMS)
_DAYS = tuple((_words(pattern), days_of) for pattern, days_of in _NAMED)
_ONE_DAY = "|".join((*(pattern for pattern, _ in _NAMED), *(re.sub(r"\((?!\?)", "(?:", form) for form in _DATE_FORMS)))
_TO = r"(?: (?:to|and|until|till|до|по|[ійt]|та|-) | ?– ?|-)"
_FROM_DAY = _words(rf"(?:(?:from|between|since|від|з|із|між) )?({_ONE_DAY}){_TO}({_ONE_DAY})")
_SINCE_DAY = _words(rf"(?:since|from|починаючи з|від|з|із) ({_ONE_DAY})")

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
    (_words("night|вночі|уночі"), "from 0 to 6"),
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
    (_words("evening|tonight|ввечері|увечері|вечора"), 18),
)
_PART = timedelta(hours=6)
_NEAR = timedelta(minutes=15)

_UNITS = (
    (r"min(?:ute)?s?|хв(?:илин[аиуі]?)?", timedelta(minutes=1)), (r"hours?|годин[аиуі]?", timedelta(hours=1)),
    (r"days?|день|дні|днів|доб[аиу]", _DAY), (r"weeks?|тиж(?:день|ні|нів)", 7 * _DAY),
    (r"months?|місяц(?:ь|і|ів)", 30 * _DAY),
)  # fmt: skip
_LAST = tuple(
    (_words(rf"(?:the )?(?:last|past|остан(?:ні|ню|ній|ня)) (?:(\d{{1,3}}) )?(?:{unit})"), of) for unit, of in _UNITS
)
_AGO = tuple((_words(rf"(?:(\d{{1,2}}|an?|one) )?(?:{unit}) (?:ago|тому)"), of) for unit, of in _UNITS)

_MISSED = _words("missed(?: calls?)?|пропущен[іийх]+(?: дзвін(?:ки|ок|ків))?")
_CALLS = re.compile(
    r"^(?:all )?(?:calls?|(?:усі |всі )?дзвін(?:ки|ок|ків))(?: (?:of|from|with|від|з))?(?: |$)", re.IGNORECASE
)
_YEARS_BACK = 9  # a 29 February is at most eight years ago


def read_time(text: str, now: datetime) -> SearchTime | None:
    """What a search says about the time, in the zone of now; None if nothing. Hours without a day are those that began
    last; a weekday is the last one, today included. Hours of several days are no one range of time: None."""
    rest = " ".join(text.split())
    for pattern, basic in _REWRITTEN:
        rest = pattern.sub(basic, rest)
    missed, rest = bool(_MISSED.search(rest)), _MISSED.sub("", rest)
    rest, times = _take_range(rest, now) or (rest, None)
    if times is None:
        days, rest = _take_days(rest, now.date())
        hours, rest = _take_hours(rest)
        times = _together(days, hours, now)
    if times is None:
        return None
    rest = " ".join(rest.replace(" ,", " ").split()).strip(" ,")
    return SearchTime(_CALLS.sub("", rest), *times, missed)


def _together(days: _Days | None, hours: _Hours | None, now: datetime) -> tuple[datetime, datetime] | None:
    """The range that days and hours make, either of which may be missing."""
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
    return since, end


def _take_range(text: str, now: datetime) -> tuple[str, tuple[datetime, datetime]] | None:
    """What is counted back from now: "last 3 hours", "2 days ago". In whole minutes."""
    minute = now.replace(second=0, microsecond=0)
    for pattern, unit in _LAST:
        if (found := pattern.search(text)) and (found[1] or unit < _DAY):  # "last week" is one of the calendar
            return _without(found), (_back(minute, int(found[1] or 1) * unit), minute + timedelta(minutes=1))
    for pattern, unit in _AGO:
        if found := pattern.search(text):
            then = _back(minute, (int(found[1]) if (found[1] or "").isdigit() else 1) * unit)
            if unit >= _DAY:
                days = _Days(then.date(), then.date() + _DAY)
                hours, rest = _take_hours(_without(found))
                return rest, _together(days, hours, now) or (then, then)
            near = max(unit / 2, timedelta(minutes=5))
            return _without(found), (then - near, min(then + near, minute + timedelta(minutes=1)))
    return None


def _back(moment: datetime, by: timedelta) -> datetime:
    """Hours are those that pass, also where the clock changes."""
    return moment - by if by >= _DAY else (moment.astimezone(UTC) - by).astimezone(moment.tzinfo)


def _take_days(text: str, today: date) -> tuple[_Days | None, str]:
    if found := _FROM_DAY.search(text):
        first = _first_days(found[1], today)
        last = first and _end_of(found[2], today, first.first)
        if first and last:
            return _Days(first.first, last.until), _without(found)
    if (found := _SINCE_DAY.search(text)) and (first := _first_days(found[1], today)):
        return _Days(first.first, today + _DAY), _without(found)
    for pattern, days_of in _DAYS:
        if found := pattern.search(text):
            return days_of(today), _without(found)
    for pattern in (_ISO, _DOTTED):
        for found in pattern.finditer(text):
            for day in _dates(found.groups(), today, is_iso=pattern is _ISO):
                return _Days(day, day + _DAY), _without(found)
    return None, text


def _first_days(words: str, today: date) -> _Days | None:
    return _take_days(words, today)[0]


def _end_of(words: str, today: date, first: date) -> _Days | None:
    """The days with which a range ends: not before it begins. "from friday to monday" ends after that friday."""
    for ahead in (today, first + 6 * _DAY, first + 365 * _DAY):
        days = _first_days(words, ahead)
        if days and days.first >= first:
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


def _take_hours(text: str) -> tuple[_Hours | None, str]:
    """Since the beginning of the day, and the text without them."""
    if found := _sure(_BETWEEN, text, _LED):
        since, until = _both(found.groups())
        return (since, until if until > since else until + _DAY), _without(found)
    for pattern, hour in _PARTS:
        if found := pattern.search(text):
            since = timedelta(hours=hour)
            return (since, since + _PART), _without(found)
    if found := _sure(_AFTER, text, _AFTER_LED):
        return (_hour(*found.groups()), _DAY), _without(found)
    if found := _BEFORE.search(text):
        return (timedelta(), _hour(*found.groups())), _without(found)
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
