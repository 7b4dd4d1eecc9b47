"""What all forms have in common, and the fields and rules that several of them share."""

import re
from collections.abc import Sequence
from typing import Any

from flask import flash
from flask_wtf import FlaskForm
from flask_wtf.form import _Auto
from wtforms import StringField, TextAreaField
from wtforms.validators import ValidationError

from pbxhub.account.email_addresses import normalised, refusal_of
from pbxhub.account.passwords import refuse_password
from pbxhub.account.refusals import Refusal
from pbxhub.web.kept_forms import kept
from pbxhub.web.language import lazy_gettext as _
from pbxhub.web.language import said


def account_address(_form: Any, field: Any) -> None:
    """Validates an account's e-mail address; afterwards the field contains its normalized spelling."""
    if refused := refusal_of(str(field.data)):
        raise ValidationError(said(refused))
    field.data = normalised(str(field.data))


def check_password(password: str, email: str) -> None:
    """Raises ValidationError for a password that account/passwords.py refuses."""
    if refused := refuse_password(password, email):
        raise ValidationError(said(refused.text))


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


def _strip(value: str | None) -> str | None:
    return value.strip() if value else value
