"""Fields that several forms share."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from babel import Locale
from flask import flash
from flask_babel import get_locale
from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from flask_wtf.form import _Auto
from wtforms import (
    BooleanField,
    IntegerField,
    PasswordField,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, Length, ValidationError
from wtforms.widgets import CheckboxInput, ListWidget

from pbxhub.account.email_addresses import normalised, refusal_of
from pbxhub.account.networks import Grant
from pbxhub.account.passwords import refuse_password
from pbxhub.account.pbxs import PbxInput
from pbxhub.account.projects import LONGEST, countries, read_project, time_zones
from pbxhub.account.refusals import Refusal
from pbxhub.calls.charsets import CHARSETS
from pbxhub.web.kept_forms import kept
from pbxhub.web.language import LANGUAGES, said
from pbxhub.wsgi.current import hub


def _account_address(_form: Any, field: Any) -> None:
    """Validates an account's e-mail address; afterwards the field contains its normalized spelling."""
    if refused := refusal_of(str(field.data)):
        raise ValidationError(said(refused))
    field.data = normalised(str(field.data))


class Form(FlaskForm):  # type: ignore[misc]
    """The base of all forms: removes white space around texts before validation."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        def bind_field(self, form: Any, unbound: Any, options: Any) -> Any:
            if unbound.field_class is StringField:
                unbound.kwargs.setdefault("filters", [_strip])
            return super().bind_field(form, unbound, options)

        def wrap_formdata(self, form: Any, formdata: Any) -> Any:
            """Restores what was entered before the session ended (kept_forms.py)."""
            given = super().wrap_formdata(form, formdata)
            return kept() if given is None and formdata is _Auto else given

    def take(self, refusals: Sequence[Refusal]) -> bool:
        """Shows the refusals of account/ beside their fields, those without a field above the form. Returns whether
        there were none."""
        for refusal in refusals:
            field = self._fields.get(refusal.path.partition(".")[0])
            if field is None:
                flash(said(refusal.text), "error")
            else:
                field.errors = [*field.errors, said(refusal.text)]
        return not refusals


class Hint:
    """A field's attributes for the browser. The rule itself is in account/, which the API uses, too."""

    def __init__(self, **flags: Any) -> None:
        self.field_flags = flags

    def __call__(self, _form: Any, _field: Any) -> None:
        """Refuses nothing."""


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
        self.time_zone.choices = list(time_zones())
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


class DialForm(Form):
    """Of calls that are begun in a CRM."""

    token = StringField(
        _("Application token of Bitrix24"),
        [Hint(maxlength=200)],
        description=_("Then its events count only with this token. Empty keeps it, - removes it."),
    )
    callback_extension = StringField(
        _("Extension for callbacks"),
        [Hint(maxlength=80)],
        description=_("Rings when a visitor asks to be called back, if nobody has talked with them before."),
    )


class SetupForm(ProjectForm):
    """The first owner and the first project."""

    your_name = StringField(_("Your name"), [Length(max=200)])
    email = StringField(_("E-mail"), [InputRequired(), _account_address])
    password = PasswordField(_("Password"), [InputRequired()], description=_("At least 10 characters."))

    def validate_password(self, field: PasswordField) -> None:
        check_password(str(field.data), str(self.email.data))


def check_password(password: str, email: str) -> None:
    """Raises ValidationError for a password that account/passwords.py refuses."""
    if refused := refuse_password(password, email):
        raise ValidationError(said(refused.text))


def _strip(value: str | None) -> str | None:
    return value.strip() if value else value


@cache
def _countries(locale: str) -> list[SelectChoice]:
    names = Locale.parse(locale).territories
    return [SelectChoice(code, names[code]) for code in sorted(countries(), key=lambda code: names[code])]


class DeleteProjectForm(Form):
    """Entering the project's name confirms the deletion."""

    typed_name = StringField(_("Name of the project"), [InputRequired()])


class InviteForm(Form):
    """An invitation: e-mail address and role."""

    email = StringField(_("E-mail"), [InputRequired(), _account_address])
    role = SelectField(
        _("Role"),
        choices=[
            SelectChoice("viewer", _("viewer")), SelectChoice("editor", _("editor")), SelectChoice("owner", _("owner")),
        ],
    )  # fmt: skip


class NewAccountForm(Form):
    """The new account of an invited person. address: the invited one."""

    address = ""
    your_name = StringField(_("Your name"), [Length(max=200)])
    password = PasswordField(_("Password"), [InputRequired()], description=_("At least 10 characters."))

    def validate_password(self, field: PasswordField) -> None:
        check_password(str(field.data), self.address)


class KeyForm(Form):
    """An API key and its scopes."""

    name = StringField(_("What is it for?"), [Hint(required=True, maxlength=200)])
    scopes = SelectMultipleField(
        _("May"),
        choices=[
            SelectChoice("read", _("read calls, deliveries, webhooks, PBXs, employees and numbers; no secrets")),
            SelectChoice(
                "write", _("what an editor may: change webhooks, employees and numbers, send again; reads, too")
            ),
            SelectChoice("call", _("order calls, send events and attributes of calls")),
            SelectChoice(
                "admin", _("everything that an owner may: also PBXs, the dial plan and the settings of the project")
            ),
        ],
        option_widget=CheckboxInput(),
        widget=ListWidget(prefix_label=False),
    )


class NamesField(StringField):  # type: ignore[misc]
    """Several names in one line, separated by commas."""

    def _value(self) -> str:
        return ", ".join(self.data or ())

    def process_formdata(self, valuelist: list[str]) -> None:
        self.data = [name.strip() for text in valuelist for name in text.split(",") if name.strip()]


class EmployeeForm(Form):
    """The card of an extension."""

    extension = StringField(_("Extension"), [Hint(required=True, maxlength=80)])
    endpoints = NamesField(
        _("Endpoints"),
        description=_("Names of the phones in Asterisk, separated by commas, such as PJSIP/anna2. Required if they "
        "differ from the extension."),
    )  # fmt: skip
    name = StringField(_("Name"), [Hint(maxlength=200)])
    email = StringField(_("E-mail"), [Hint(maxlength=255)])
    department = StringField(_("Department"), [Hint(maxlength=200)])
    crm_id = StringField(_("Id in your CRM"), [Hint(maxlength=200)], description=_("Sent as <<manager_id>>."))


class NumberForm(Form):
    """A number of ours."""

    pbx_id = SelectField("PBX", coerce=int)
    did = StringField(
        _("Number (DID)"),
        [Hint(required=True, maxlength=80)],
        description=_("Exactly as the PBX receives it."),
    )
    label = StringField(_("Label"), [Hint(maxlength=200)], description=_("Sent as <<n_alias>>."))


class PbxForm(Form):
    """The connection to a PBX. account/pbxs.py has the rules."""

    name = StringField(_("Name"), [InputRequired()])
    host = StringField(_("Address"), [InputRequired()], description=_("Host name or IP of the PBX."))
    port = IntegerField(_("AMI port"), [InputRequired()], default=5038)
    username = StringField(_("AMI user"), [InputRequired()], default="pbxhub")
    secret = PasswordField(_("AMI secret"))
    tls = BooleanField(_("Connect with TLS"))
    tls_ca = TextAreaField(_("Own certificate authority (PEM)"))
    plain_login = BooleanField(
        _("Send the secret in plain text"), description=_("Only for a PBX that refuses the MD5 challenge.")
    )
    contexts = StringField(
        _("Incoming contexts"),
        [InputRequired()],
        description=_(
            "Dialplan contexts in which calls from outside arrive, separated by commas. from-trunk* means all that "
            "begin with from-trunk."
        ),
    )
    charset = SelectField(
        _("Charset of names"),
        validate_choice=False,
        choices=[SelectChoice("", _("that of the country")), *(SelectChoice(name) for name in CHARSETS)],
        description=_("Of callers' names that are not UTF-8. In Ukraine and its neighbours windows-1251 as a rule."),
    )
    enabled = BooleanField(_("Listen to this PBX"), default=True)

    def wanted(self, secret: str) -> PbxInput:
        """What the form asks for. secret: "" keeps the one there is."""
        names = tuple(name.strip() for name in str(self.contexts.data).split(",") if name.strip())
        return PbxInput(
            self.name.data, self.host.data, self.port.data, self.username.data, secret or None, self.tls.data,
            (self.tls_ca.data or "").replace("\r\n", "\n").strip(), self.plain_login.data, names, self.enabled.data,
            self.charset.data or "",
        )  # fmt: skip

    def take(self, refusals: Sequence[Refusal]) -> bool:
        """The same, with the name that the field has here."""
        return super().take([replace(one, path=one.path.replace("incoming_", "")) for one in refusals])


class NumberRulesField(TextAreaField):  # type: ignore[misc]
    """Rules of steering/number_rules.py, separated by line breaks, spaces or commas; its data is their list. Show it by
    the macro of _number_rules.html."""

    def __init__(self, label: str, **options: Any) -> None:
        super().__init__(
            label, description=_("Empty: no number."), render_kw={"rows": 5, "spellcheck": "false"}, **options
        )

    def process_formdata(self, valuelist: list[str]) -> None:
        self.data = [rule for rule in re.split(r"[\s,]+", "".join(valuelist)) if rule]

    def _value(self) -> str:
        return "\n".join(self.data or ())


class DialPlanForm(Form):
    """Which calls that programs order a PBX places. The rules are those of account/dial_plans.py."""

    allowed = NumberRulesField(_("Numbers that may be called"))
    channel = StringField(
        _("What rings first"), [Hint(required=True, maxlength=100)],
        description=_("A channel of Asterisk. {extension} stands for the employee's extension."),
    )  # fmt: skip
    context = StringField(
        _("Context"), [Hint(required=True, maxlength=80)],
        description=_("The dialplan context in which the number is dialled once the employee has answered."),
    )  # fmt: skip
    ring_seconds = IntegerField(_("Seconds the employee's phone rings"), [Hint(required=True)])
    at_once = IntegerField(_("Ordered calls at the same time"), [Hint(required=True)])
    per_minute = IntegerField(_("Ordered calls per minute"), [Hint(required=True)])


class PbxFilesForm(Form):
    """The settings of a PBX that only operators change."""

    cel_path = StringField(
        _("CEL database on this host"),
        description=_("Path of the cel_sqlite3_custom file, to fill gaps after a lost connection. Empty: none."),
    )
    cel_url = PasswordField(
        _("Or CEL table on the network"),
        description=_(
            "postgresql://USER:PASSWORD@HOST/DATABASE?table=cel, where cel_pgsql or cel_odbc of this PBX "
            "writes. It is encrypted and not shown again; empty keeps what there is."
        ),
    )
    no_cel_url = BooleanField(_("Read no CEL table any more"))
    recordings = StringField(
        _("Recordings folder on this host"),
        description=_("The folder may contain only this PBX's recordings. PBXHUB_RECORDINGS means the folder of that "
        "setting. Empty: none."),
    )  # fmt: skip
    any_network = BooleanField(_("May keep its address, whatever the project's networks"))

    @property
    def wanted_cel_url(self) -> str | None:
        """None: as it is."""
        return "" if self.no_cel_url.data else (self.cel_url.data or "").strip() or None


class NetworksForm(Form):
    """The networks that operators grant a project."""

    pbx_networks = TextAreaField(
        _("Networks of its PBXs"),
        description=_("In addition to public addresses; one per line, such as 192.168.10.0/24."),
    )
    all_webhook_networks = BooleanField(_("Its webhooks may reach all of PBXHUB_ALLOWED_NETWORKS"))
    webhook_networks = SelectMultipleField(
        _("Or only these"), option_widget=CheckboxInput(), widget=ListWidget(prefix_label=False)
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.webhook_networks.choices = [str(network) for network in hub().settings.allowed_networks]

    def grant(self) -> Grant:
        """What the form asks for."""
        pbxs = tuple(re.split(r"[\s,]+", str(self.pbx_networks.data or "").strip()))
        webhooks = None if self.all_webhook_networks.data else tuple(self.webhook_networks.data or ())
        return Grant(tuple(filter(None, pbxs)), webhooks)


class ProfileForm(Form):
    """A user's name and language."""

    name = StringField(_("Your name"), [Length(max=200)])
    language = SelectField(
        _("Language"),
        choices=[SelectChoice("", _("as the browser")), *(SelectChoice(*language) for language in LANGUAGES.items())],
    )


class GoogleAnalyticsForm(Form):
    """The values that the locked event needs."""

    measurement_id = StringField(
        _("Measurement id"),
        [Hint(required=True)],
        description=_("Admin → Data streams → your stream."),
    )
    api_secret = PasswordField(
        _("API secret"),
        [Hint(required=True, maxlength=200)],
        description=_("Admin → Data streams → your stream → Measurement Protocol API secrets."),
    )


class AlertForm(Form):
    """Where a project's notices go."""

    address = StringField(
        _("E-mail or https address"),
        [Hint(required=True, maxlength=2000)],
        description=_("A URL (http://…, https://…) gets the notice as JSON."),
    )
