"""The forms of a PBX: its connection, and its dial plan. account/ has the rules."""

from collections.abc import Sequence
from dataclasses import replace

from wtforms import BooleanField, IntegerField, PasswordField, SelectField, StringField, TextAreaField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired

from pbxhub.account.pbxs import PbxInput
from pbxhub.account.refusals import Refusal
from pbxhub.calls.charsets import CHARSETS
from pbxhub.web.forms import Form, Hint, NumberRulesField
from pbxhub.web.language import lazy_gettext as _


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
        description=_("For callers' names that are not UTF-8: in Ukraine and its neighbours usually windows-1251."),
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
