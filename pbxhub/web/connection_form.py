"""The form of a connection: only the fields of its kind. The rules are those of account/connections.py."""

from collections.abc import Sequence
from typing import Any

from wtforms import BooleanField, PasswordField, SelectField, StringField, TextAreaField
from wtforms.fields import SelectChoice

from pbxhub.web.forms import Form, Hint
from pbxhub.web.language import lazy_gettext as _
from pbxhub.web.language import said
from pbxhub.webhooks.connection_spec import ConnectionSpec, OAuth, dump_connection
from pbxhub.webhooks.spec import FieldError

KINDS = {
    "basic": _("user and password (Basic)"),
    "bearer": _("token (Bearer)"),
    "header": _("secret in a header"),
    "query": _("secret in the URL"),
    "authorization_code": _("OAuth2: a person agrees in the browser"),
    "client_credentials": _("OAuth2: client credentials"),
    "jwt_bearer": _("OAuth2: service account with a private key"),
    "refresh_token": _("OAuth2: a refresh token that you have"),
}
"""What a user chooses from: the kinds, of OAuth2 its grants."""

_OAUTH = ("client_id", "token_url", "scopes", "client_auth", "send_as", "word", "token_name")
_FIELDS: dict[str, tuple[str, ...]] = {
    "basic": ("username",),
    "bearer": (),
    "header": ("field_name",),
    "query": ("field_name",),
    "authorization_code": ("authorize_url", "pkce", "redirect_on_refresh", "extra", *_OAUTH),
    "client_credentials": _OAUTH,
    "jwt_bearer": ("subject", *_OAUTH),
    "refresh_token": ("refresh_token", *_OAUTH),
}
_SECRETS = {
    "basic": _("Password"),
    "bearer": _("Token"),
    "header": _("Secret"),
    "query": _("Secret"),
    "jwt_bearer": _("Private key"),
}
_ALWAYS = ("csrf_token", "name", "hosts", "secret", "test_url")
_PLACES = {"spec.name": "field_name", "spec.oauth.name": "token_name"}
DETAILS = (
    "authorize_url", "token_url", "client_auth", "pkce", "redirect_on_refresh", "extra", "send_as", "word",
    "token_name",
)  # fmt: skip
"""Fields that the provider's documentation answers and a preset fills."""


class ConnectionForm(Form):
    name = StringField(
        _("Name"), [Hint(required=True, maxlength=200)], description=_("Webhooks choose it by this name.")
    )
    username = StringField(_("User name"))
    field_name = StringField(_("Name of the header or parameter"), [Hint(required=True)])
    client_id = StringField(_("Client id"), [Hint(required=True)])
    secret = PasswordField(_("Client secret"), description=_("It is encrypted and never shown again."))
    refresh_token = PasswordField(_("Refresh token"), description=_("It is encrypted and never shown again."))
    scopes = StringField(
        _("Scopes"), description=_("What the provider lets the hub do; separated by spaces, or as the provider asks.")
    )
    subject = StringField(
        _("Acts for the user"), description=_("The e-mail address of a user, if the service account may act for one.")
    )
    hosts = TextAreaField(
        _("Hosts"),
        [Hint(required=True)],
        description=_(
            "Where the credentials may be sent, one per line: api.example.com or *.example.com. They leave by https "
            "only, unless you write http:// before the host."
        ),
    )
    test_url = StringField(
        _("Address for a test"),
        description=_("The button Test sends a GET there; the answer shows whether the credentials are accepted."),
    )
    authorize_url = StringField(_("Address where the user agrees (authorize)"), [Hint(required=True)])
    token_url = StringField(_("Address of tokens"), [Hint(required=True)])
    client_auth = SelectField(
        _("Client id and secret are sent"),
        choices=[SelectChoice("header", _("in a header (Basic)")), SelectChoice("body", _("in the body"))],
    )
    pkce = BooleanField(_("Use PKCE"), default=True)
    redirect_on_refresh = BooleanField(_("Send the redirect address when a token is renewed, too"))
    extra = TextAreaField(
        _("More parameters of that address"), description=_("One per line, such as access_type=offline.")
    )
    send_as = SelectField(
        _("Requests carry the token"),
        choices=[
            SelectChoice("header", _("in the header Authorization")), SelectChoice("query", _("as a query parameter"))
        ],
    )  # fmt: skip
    word = StringField(_("Word before the token"), default="Bearer")
    token_name = StringField(_("Name of that query parameter"))

    def __init__(self, kind: str, *args: Any, **kwargs: Any) -> None:
        """kind: one of KINDS; the fields of the others are left out."""
        super().__init__(*args, **kwargs)
        self.kind = kind
        wanted = {*_ALWAYS, *_FIELDS[kind]}
        for name in [name for name in self._fields if name not in wanted]:
            del self[name]
        if kind in _SECRETS:
            self.secret.label.text = _SECRETS[kind]
        if kind == "jwt_bearer":
            self.secret.description = _("PEM, or the whole JSON file of the service account.")

    def given(self) -> dict[str, Any]:
        """As save_connection reads it."""
        data: dict[str, Any] = {name: field.data for name, field in self._fields.items()}
        spec: dict[str, Any] = {
            "kind": self.kind,
            "hosts": (data["hosts"] or "").split(),
            "test_url": data["test_url"] or "",
        }
        if self.kind in ("basic", "bearer", "header", "query"):
            spec |= {"username": data.get("username") or "", "name": data.get("field_name") or ""}
        else:
            spec |= {"kind": "oauth2", "oauth": self._oauth(data)}
        return {
            "name": data["name"], "spec": spec, "secret": data["secret"], "refresh_token": data.get("refresh_token")
        }  # fmt: skip

    def _oauth(self, data: dict[str, Any]) -> dict[str, Any]:
        texts = ("authorize_url", "token_url", "client_id", "scopes", "client_auth", "subject", "send_as", "word")
        pairs = (line.partition("=") for line in (data.get("extra") or "").splitlines() if line.strip())
        return {
            "grant": self.kind, **{name: data[name] or "" for name in texts if name in data},
            "name": data.get("token_name") or "", "pkce": bool(data.get("pkce")),
            "redirect_on_refresh": bool(data.get("redirect_on_refresh")),
            "extra": [{"name": name.strip(), "value": value.strip()} for name, _equals, value in pairs],
        }  # fmt: skip

    def show(self, errors: Sequence[FieldError]) -> list[str]:
        """Puts the errors beside their fields; returns those that have none."""
        left = []
        for error in errors:
            name = _PLACES.get(error.path, error.path.rpartition(".")[2])
            field = self._fields.get(name)
            if field is None:
                left.append(f"{error.path}: {said(error.message)}")
            else:
                field.errors = [*field.errors, said(error.message)]
        return left


def kind_of(spec: ConnectionSpec) -> str:
    """The kind as users see it: of OAuth2 its grant."""
    return spec.oauth.grant if spec.kind == "oauth2" and spec.oauth else spec.kind


def form_data(name: str, spec: ConnectionSpec) -> dict[str, Any]:
    """What the form shows of a connection."""
    data = dump_connection(spec)
    oauth = spec.oauth or OAuth()
    return {
        **data, **dump_connection(ConnectionSpec(oauth=oauth))["oauth"], "name": name, "hosts": "\n".join(spec.hosts),
        "field_name": spec.name, "token_name": oauth.name, "pkce": oauth.pkce,
        "redirect_on_refresh": oauth.redirect_on_refresh,
        "extra": "\n".join(f"{one.name}={one.value}" for one in oauth.extra),
    }  # fmt: skip
