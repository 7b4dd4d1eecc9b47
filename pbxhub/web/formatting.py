"""Formats values for pages: times in the project's time zone, durations, sizes, icons."""

import json
import re
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from babel.dates import format_datetime, format_interval, format_skeleton, format_timedelta
from flask import Flask, g
from flask_babel import get_locale
from flask_login import current_user
from markupsafe import Markup, escape

from pbxhub.account.copied_text import argument_of
from pbxhub.account.secret_visibility import readable, visible_body, visible_text, visible_values
from pbxhub.calls.stages import Value
from pbxhub.redaction import redact_headers, redact_url
from pbxhub.web.assets import asset
from pbxhub.web.language import _
from pbxhub.webhooks.conditions import as_text
from pbxhub.wsgi.current import now


def install(app: Flask) -> None:
    """Makes the filters and functions below available in every template."""
    app.jinja_env.filters["argument"] = argument_of
    app.jinja_env.filters.update(
        when=when,
        clock=clock,
        clock_text=clock_text,
        hour=hour,
        span=span,
        ago=ago,
        seconds=seconds,
        milliseconds=milliseconds,
        size=size,
        axis_top=axis_top,
        stacked=stacked,
    )
    app.jinja_env.filters.update(
        moment=moment, path_of=path_of, browser=browser, shown=shown, readable=readable, as_it_came=as_it_came
    )
    app.jinja_env.filters.update(
        hide_secrets=redact_url,
        hide_headers=redact_headers,
        visible=visible,
        visible_value=visible_value,
        as_compared=as_compared,
    )
    app.jinja_env.globals.update(icon=icon, now=now)
    app.context_processor(lambda: {"access": g.get("access"), "me": current_user})


def axis_top(most: int) -> int:
    """The round number at the top of a chart's axis: at least most, and even unless it is 1."""
    scale: int = 10 ** (len(str(most)) - 1)
    steps = (1, 2, 4, 6, 8, 10) if scale == 1 else (1, 2, 3, 4, 5, 6, 8, 10)
    return next(step * scale for step in steps if step * scale >= most)


def stacked(table: str) -> Markup:
    """A table whose cells carry the name of their column, for phones, where a row is shown as a block."""
    names = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', table, re.DOTALL)

    def labelled(row: re.Match[str]) -> str:
        columns = iter(names)
        return re.sub(r"<td\b", lambda _cell: f'<td data-label="{next(columns, "").strip()}"', row[0])

    return Markup(re.sub(r"<tr\b.*?</tr>", labelled, table, flags=re.DOTALL))  # noqa: S704  # it comes from a template


def visible(text: str | bytes) -> Any:
    """A message or a body as the reader of this page may see it."""
    access = g.get("access")
    return visible_body(access, text) if isinstance(text, bytes) else visible_text(access, text)


def visible_value(value: object, name: str) -> object:
    """A value of a call as the reader of this page may see it."""
    return visible_values(g.get("access"), {name: value})[name]


def as_compared(value: Value) -> str:
    """A value of a call as a condition compares it: true, not True. "" for none."""
    return as_text(value, zone())


def zone() -> tzinfo:
    """The zone of the project on this page; UTC outside of projects."""
    access = g.get("access")
    return ZoneInfo(access.project.time_zone) if access else UTC


def when(moment: datetime | None, empty: str = "—") -> Markup:
    """Day and time in the project's zone, UTC on hover."""
    return _time(moment, "d MMM, HH:mm:ss" if moment and _this_year(moment) else "d MMM y, HH:mm:ss", empty)


def clock(moment: datetime | None, empty: str = "—") -> Markup:
    """The time of day in the project's zone, UTC on hover."""
    return _time(moment, "HH:mm:ss", empty)


def moment_text(moment: datetime) -> str:
    """Day and time in the project's zone, where no markup may stand."""
    return format_datetime(moment, "d MMM, HH:mm:ss", tzinfo=zone(), locale=get_locale())


def span(since: datetime | None, until: datetime) -> str:
    """From when until when, until not included, in the zone they have: whole days, or with their hours. Without since,
    all whole days before."""
    last = until - timedelta(minutes=1)
    if since is None:
        day = format_skeleton("yMMMEd", last, tzinfo=until.tzinfo, locale=get_locale())
        return _("up to and including %(day)s", day=day)
    days = format_interval(since, last, "yMMMEd", tzinfo=since.tzinfo, locale=get_locale())
    if (since.time(), until.time()) == (time.min, time.min):
        return days
    day = format_skeleton("yMMMEd", since, tzinfo=since.tzinfo, locale=get_locale())
    if until - since < timedelta(days=1):  # a night is of the day on which it begins
        return f"{day}, {since:%H:%M}–{until:%H:%M}"
    end = format_skeleton("yMMMEd", until, tzinfo=since.tzinfo, locale=get_locale())
    return f"{day}, {since:%H:%M} – {end}, {until:%H:%M}"


def clock_text(moment: datetime) -> str:
    """The time of day in the project's zone, where no markup may stand."""
    return format_datetime(moment, "HH:mm:ss", tzinfo=zone(), locale=get_locale())


def hour(moment: datetime) -> str:
    """An hour of the day in the project's zone: 14:00."""
    return f"{moment.astimezone(zone()):%H:%M}"


def ago(moment: datetime | None, empty: str = "—") -> Markup:
    """ "5 minutes ago", exact time on hover."""
    if moment is None:
        return escape(empty)
    text = format_timedelta(moment - now(), add_direction=True, locale=get_locale())
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment.isoformat(), _utc(moment), text)


def seconds(value: float | None, empty: str = "—") -> str:
    """A duration for people: 45 s, 2:05, 1:02:03."""
    if value is None:
        return empty
    whole = int(value)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours}:{minutes:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}" if minutes else f"{whole} s"


def milliseconds(value: float | None, empty: str = "—") -> str:
    """12 ms, 1.4 s."""
    if value is None:
        return empty
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms"


def size(count: int) -> str:
    """512 B, 1.2 KB, 3.4 MB."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KB" if count < 1024 * 1024 else f"{count / 1048576:.1f} MB"


def moment(text: object) -> datetime | None:
    """The aware datetime behind an ISO 8601 text of stored values; None when it is none."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def path_of(address: str) -> str:
    """Path and query of an address of this site, for links that lead back to where the browser is; "", which leads to
    the page itself, for what is no address."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def browser(agent: str) -> str:
    """Browser and system of a User-Agent, such as "Firefox, Linux"."""
    names = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
    systems = (("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iOS"), ("Windows", "Windows"), ("Mac OS", "macOS"),
               ("Linux", "Linux"))  # fmt: skip
    found = [next((name for mark, name in table if mark in agent), "") for table in (names, systems)]
    return ", ".join(name for name in found if name) or agent[:60] or "?"


def as_it_came(body: bytes) -> str:
    """A body unchanged; bytes and characters that cannot be shown as \\x.."""
    text = body.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c in "\n\r\t" else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """A value of the audit log as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def icon(name: str, label: str = "") -> Markup:
    """An icon of static/vendor/icons.svg. label: text for screen readers; "" = decoration."""
    if "icons" not in g:  # a long list has thousands
        g.icons = asset("vendor/icons.svg")
    return _icon(g.icons, name, label)


@cache
def _icon(sprite: str, name: str, label: str) -> Markup:
    # sprite: where this request finds it. Two hubs of one process may stand under two paths.
    said = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    return Markup('<svg class="icon" {}><use href="{}#{}"/></svg>').format(said, sprite, escape(name))


def _time(moment: datetime | None, pattern: str, empty: str) -> Markup:
    if moment is None:
        return escape(empty)
    text = format_datetime(moment, pattern, tzinfo=zone(), locale=get_locale())
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment.isoformat(), _utc(moment), text)


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"


def _this_year(moment: datetime) -> bool:
    return moment.astimezone(zone()).year == now().astimezone(zone()).year
