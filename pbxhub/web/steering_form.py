"""The form of a webhook that a waiting call asks, and its conversion to and from the webhook's JSON."""

from types import SimpleNamespace
from typing import Any

from wtforms import BooleanField, IntegerField, SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired

from pbxhub.store.webhooks import Webhook
from pbxhub.web.forms import Form, Hint, NumberRulesField
from pbxhub.web.language import lazy_gettext as _
from pbxhub.webhooks.catalogue import QUESTION
from pbxhub.webhooks.spec import Steering, dump_spec

_SENT = {"caller": "caller", "called": "dst", "call_id": "call_id", "digits": "additional_number"}
_PARAMETERS = [{"name": name, "value": f"<<{value}>>"} for name, value in _SENT.items()]


class SteeringForm(Form):
    """The webhook's request, how its answer is read, and what the answer may do."""

    name = StringField(
        _("Name"),
        [Hint(required=True, maxlength=200)],
        description=_("The dialplan refers to the webhook by this name."),
    )
    url = StringField("URL", [Hint(required=True, maxlength=8000)])
    method = SelectField(_("Method"), choices=["POST", "GET", "PUT", "PATCH"])
    format = SelectField(_("Format"), choices=["json", "form", "xml", "none"])
    reads = SelectField(
        _("The answer contains"),
        choices=[
            SelectChoice("number", _("the number to forward to")),
            SelectChoice("actions", _("actions")),
            SelectChoice("variables", _("values for the dialplan")),
        ],
    )
    key = StringField(
        _("Name in response for destination"), [Hint(maxlength=200)],
        description=_("destination or data.phone in a JSON answer; empty: the whole answer is the number."),
    )  # fmt: skip
    wait = IntegerField(_("Seconds to wait for the answer"), [InputRequired(), Hint(min=1, max=60)])
    music = StringField(_("Music class meanwhile"), [Hint(maxlength=80)], description=_("Empty: silence."))
    numbers = NumberRulesField(_("Numbers it may call"))
    contexts = StringField(_("Contexts the action goto may choose"), [Hint(maxlength=2000)])
    default = StringField(
        _("Default route"), [Hint(maxlength=40)],
        description=_("Number to call when the answer cannot be carried out. Empty: the dialplan continues at line 1."),
    )  # fmt: skip
    known_first = BooleanField(_("Default route: first the employee who talked last with the caller"))
    ring = IntegerField(_("Seconds the destination rings"), [InputRequired(), Hint(min=1, max=600)])
    enabled = BooleanField(_("Switched on"))

    def take_error(self, path: str, message: str) -> None:
        """Shows an error beside the field it is about, or with its path beside the name."""
        name = path.split(".")[-1].partition("[")[0]
        field, shown = (
            (self[name], message) if name in self else (self["name"], f"{path}: {message}" if path else message)
        )
        field.errors = [*field.errors, shown]


def fill_in(webhook: Webhook | None, reads: str) -> SimpleNamespace:
    """What the form shows: of the webhook, or of a new one that reads its answers so."""
    if webhook is None:
        kind: Any = reads if reads in ("actions", "variables") else "number"
        return _filled(Steering(reads=kind), name="", url="", method="POST", format="json", enabled=True)
    sent = webhook.spec.request
    return _filled(
        webhook.spec.steering or Steering(), name=webhook.name, url=sent.url, method=sent.method, format=sent.format,
        enabled=webhook.enabled,
    )  # fmt: skip


def _filled(steering: Steering, **rest: object) -> SimpleNamespace:
    plain = {
        name: getattr(steering, name) for name in ("reads", "key", "wait", "music", "default", "known_first", "ring")
    }
    lists = {"numbers": steering.numbers, "contexts": " ".join(steering.contexts)}
    return SimpleNamespace(**plain, **lists, **rest)


def as_data(form: SteeringForm, webhook: Webhook | None) -> dict[str, Any]:
    """The webhook as the editor would send it: what this form does not know stays as it is."""
    spec = dump_spec(webhook.spec) if webhook else {"request": {"parameters": _PARAMETERS}}
    given = form.data
    spec["request"] |= {name: given[name] for name in ("url", "method", "format")}
    spec["steering"] = {
        **{name: (given[name] or "").strip() for name in ("reads", "key", "music", "default")},
        "wait": given["wait"], "ring": given["ring"], "known_first": given["known_first"],
        "numbers": given["numbers"], "contexts": (given["contexts"] or "").split(),
    }  # fmt: skip
    return {"name": given["name"], "stage": QUESTION, "enabled": given["enabled"], "spec": spec}


def simulated_of(form: SteeringForm) -> Steering:
    """The rules under which an answer is tried out, saved or not; what cannot be read is as by default."""
    given = form.data
    reads: Any = given["reads"] if given["reads"] in ("number", "variables") else "actions"
    numbers, contexts = (given["numbers"] or [])[:200], (given["contexts"] or "").split()[:200]
    return Steering(
        reads=reads, key=(given["key"] or "").strip(), numbers=tuple(numbers), contexts=tuple(contexts),
        default=(given["default"] or "").strip(), ring=given["ring"] or Steering().ring,
    )  # fmt: skip
