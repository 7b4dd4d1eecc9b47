"""The forms of a project's settings. The rules are in account/projects.py and project_settings.py."""

from functools import cache
from typing import Any

from babel import Locale
from babel.core import get_global
from flask_babel import get_locale
from wtforms import IntegerField, SelectField, StringField, TextAreaField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired

from pbxhub.account.projects import LONGEST, countries, read_project, time_zones
from pbxhub.web.forms import Form, Hint
from pbxhub.web.language import lazy_gettext as _


class ProjectForm(Form):
    """A project's name, time zone and country."""

    name = StringField(_("Project name"), [Hint(required=True, maxlength=200)])
    time_zone = SelectField(
        _("Time zone"), validate_choice=False, description=_("Times on pages and in requests are in this time zone.")
    )
    country = SelectField(
        _("Country"), validate_choice=False, description=_("For numbers written without a country code.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.time_zone.choices = _zones()
        self.country.choices = [SelectChoice("", "—"), *_countries(str(get_locale()))]

    def settings(self) -> dict[str, str]:
        """What the form gives of the settings of a project."""
        return {name: str(self[name].data or "") for name in LONGEST}

    def validate(self, extra_validators: Any = None) -> bool:
        """By the rule of account/projects.py, also where a project is not changed but made."""
        valid = super().validate(extra_validators)
        read = read_project(self.settings())
        return self.take(read if isinstance(read, list) else []) and valid


class WorkingTimeForm(Form):
    """When a project works: one line each."""

    working_hours = TextAreaField(
        _("Working hours"),
        description=_("One line each. Without lines, every hour is a working hour."),
        render_kw={"rows": 4},
    )
    holidays = TextAreaField(
        _("Holidays"),
        description=_("One day a line. A day without a year is a holiday every year."),
        render_kw={"rows": 4},
    )

    def settings(self) -> dict[str, list[str]]:
        """The lines of both fields."""
        return {name: str(self[name].data or "").splitlines() for name in ("working_hours", "holidays")}


class RecordingLinksForm(Form):
    """How long links to recordings are valid."""

    recording_link_days = IntegerField(
        _("Days a link is valid"),
        [Hint(required=True)],
        description=_(
            "0: as long as the call is kept. Links made without a limit end that many days after their call; other "
            "links keep the limit that they were made with."
        ),
    )


class AlertForm(Form):
    """Where a project's notices go."""

    address = StringField(
        _("E-mail or https address"),
        [Hint(required=True, maxlength=2000)],
        description=_("A URL (http://…, https://…) gets the notice as JSON."),
    )


class DeleteProjectForm(Form):
    """Entering the project's name confirms the deletion."""

    typed_name = StringField(_("Name of the project"), [InputRequired()])


@cache
def _zones() -> list[SelectChoice]:
    """Each with its country, which app.js chooses for a new project, and the name it has now: browsers may give one
    of its former names."""
    now, territories = get_global("zone_aliases"), get_global("zone_territories")
    choices = []
    for zone in time_zones():
        named = now.get(zone, zone)
        chosen = {"data-now": named} if named != zone and named in time_zones() else {}
        if (country := territories.get(named)) in countries():
            chosen["data-country"] = country
        choices.append(SelectChoice(zone, render_kw=chosen))
    return choices


@cache
def _countries(locale: str) -> list[SelectChoice]:
    """By name; in English where the language has none: Ukrainian has no name of Sark (CQ)."""
    names = {**Locale.parse("en").territories, **Locale.parse(locale).territories}
    return [SelectChoice(code, names[code]) for code in sorted(countries(), key=lambda code: names[code])]
