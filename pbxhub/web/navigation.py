"""Data for the side menu and for links."""

from collections.abc import Mapping
from urllib.parse import urlencode

from flask import Flask, g

from pbxhub import __version__
from pbxhub.account.statistics import count_unchecked
from pbxhub.wsgi.current import hub

_MOST = 99


def install(app: Flask) -> None:
    """Gives templates the existing pages, links that keep their filters, and the number of failures."""
    app.jinja_env.globals["known_endpoints"] = app.view_functions
    app.jinja_env.globals["hub_version"] = __version__
    app.jinja_env.globals["failing_now"] = failing_now
    app.jinja_env.filters["remake"] = remake


def remake(arguments: Mapping[str, str], **changes: str) -> str:
    """A query string with some arguments changed; an empty value removes one."""
    merged = {**arguments, **changes}
    return urlencode({name: value for name, value in merged.items() if value})


def failing_now() -> str:
    """How many unchecked failures the project has, for the badge: "", "7", "99+"."""
    with hub().database.read() as session:
        count = count_unchecked(session, g.access.project.id, _MOST + 1)
    return f"{_MOST}+" if count > _MOST else str(count or "")
