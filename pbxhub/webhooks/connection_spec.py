"""The settings of a connection: credentials for another system that are kept once and used by many webhooks.

Secrets and tokens are never part of the settings; they are encrypted beside them (store/connections.py).
"""

import ipaddress
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pbxhub.translatable import say
from pbxhub.webhooks.auth import check_auth, secret_error
from pbxhub.webhooks.spec import Auth
from pbxhub.webhooks.spec_json import FieldError, read_as, write, wrong_at
from pbxhub.webhooks.template import TemplateError
from pbxhub.webhooks.urls import compile_url

Grant = Literal["authorization_code", "client_credentials", "jwt_bearer", "refresh_token"]
MOST_HOSTS = 20
# What the hub itself tells the address at which the user agrees (RFC 6749, 4.1.1; RFC 7636, 4.3).
_OWN_PARAMETERS = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}
)
_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?(?=[/?]|$)", re.IGNORECASE)
_HOST = re.compile(r"(?:(http)://)?(\*\.)?([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Extra:
    """One more parameter of the address at which the user agrees (access_type=offline of Google)."""

    name: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class OAuth:
    """How tokens are obtained.

    grant: authorization_code (a person agrees in the browser), client_credentials, jwt_bearer (a service account signs
    with its private key), refresh_token (pasted by hand). scopes: separated by spaces, as the provider writes them.
    client_auth: where the token request carries client id and secret: "header" (Basic) or "body".
    redirect_on_refresh: the provider wants the redirect address when it renews a token, too (amoCRM).
    subject: of jwt_bearer, the user for whom the service account acts; "" for itself.
    send_as: where a request carries the token: after `word` in Authorization, or as the query parameter `name`.
    """

    grant: Grant = "authorization_code"
    authorize_url: str = ""
    token_url: str = ""
    client_id: str = ""
    scopes: str = ""
    client_auth: Literal["header", "body"] = "header"
    pkce: bool = True
    redirect_on_refresh: bool = False
    extra: tuple[Extra, ...] = ()
    subject: str = ""
    send_as: Literal["header", "query"] = "header"
    word: str = "Bearer"
    name: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """hosts: where the credentials may go: api.example.com, *.example.com, example.com:8443; by https only, unless it
    is written http://host. test_url: a GET there with the credentials shows whether they are accepted; "" for none.
    username, name: as in Auth."""

    kind: Literal["basic", "bearer", "header", "query", "oauth2"] = "bearer"
    hosts: tuple[str, ...] = ()
    username: str = ""
    name: str = ""
    test_url: str = ""
    oauth: OAuth | None = None

    @property
    def auth(self) -> Auth:
        """How a request carries the secret, or the token."""
        if self.kind != "oauth2":
            return Auth(self.kind, self.username, self.name)
        oauth = self.oauth or OAuth()
        return Auth("query", name=oauth.name) if oauth.send_as == "query" else Auth("header", name="Authorization")

    def carried(self, secret: str) -> str:
        """What stands in the place that `auth` names. secret: of the connection; of OAuth2 the access token."""
        oauth = self.oauth
        return f"{oauth.word} {secret}" if self.kind == "oauth2" and oauth and oauth.send_as == "header" else secret


def load_connection(data: Any) -> ConnectionSpec:
    """The settings in the JSON. Raises SpecError with every wrong field."""
    return read_as(ConnectionSpec, data)


def dump_connection(spec: ConnectionSpec) -> Any:
    """The JSON of the settings; load_connection reads it back."""
    return write(spec)


def may_go_to(spec: ConnectionSpec, url: str) -> bool:
    """Whether the credentials may be sent to this absolute URL."""
    match = _ORIGIN.match(url)
    if match is None:
        return False
    scheme, host = match[1].lower(), match[2].lower().rstrip(".")
    port = int(match[3] or _DEFAULT_PORTS[scheme])
    return any(_allows(entry, scheme, host, port) for entry in spec.hosts)


def _allows(entry: str, scheme: str, host: str, port: int) -> bool:
    match = _HOST.fullmatch(entry.lower())
    if match is None or scheme != (match[1] or "https") or port != int(match[4] or _DEFAULT_PORTS[scheme]):
        return False
    return host.endswith(f".{match[3]}") if match[2] else host == match[3]


def check_connection(spec: ConnectionSpec) -> list[FieldError]:
    """Everything that is wrong with the settings."""
    errors = _host_errors(spec)
    errors += [FieldError(error.path.removeprefix("auth."), error.message) for error in check_auth(spec.auth)]
    if spec.test_url:
        errors += _url_errors("test_url", spec.test_url)
        if not errors and not may_go_to(spec, spec.test_url):
            errors.append(wrong_at("test_url", "is at a host that is not among the hosts of this connection"))
    if spec.kind == "oauth2":
        errors += [wrong_at("oauth", "is missing")] if spec.oauth is None else _oauth_errors(spec.oauth)
    return errors


def _host_errors(spec: ConnectionSpec) -> list[FieldError]:
    if not spec.hosts or len(spec.hosts) > MOST_HOSTS:
        return [wrong_at("hosts", "give 1 to %(most)s hosts, such as api.example.com", most=MOST_HOSTS)]
    wrong = [entry for entry in spec.hosts if not _is_host(entry)]
    return [
        wrong_at("hosts", "%(entry)s is not a host; write api.example.com or *.example.com", entry=entry[:100])
        for entry in wrong[:3]
    ]


def _is_host(entry: str) -> bool:
    match = _HOST.fullmatch(entry.lower())
    if match is None or not 0 < int(match[4] or 1) < 65536:
        return False
    return not match[2] or "." in match[3]  # *.com would be half of the internet


def _oauth_errors(oauth: OAuth) -> Iterator[FieldError]:
    yield from _url_errors("oauth.token_url", oauth.token_url)
    if oauth.grant == "authorization_code":
        yield from _url_errors("oauth.authorize_url", oauth.authorize_url)
    for name in ("client_id", "scopes", "subject", "word"):
        text = str(getattr(oauth, name))
        if not text.isprintable() or len(text) > 2000:
            yield wrong_at(f"oauth.{name}", "write one line of up to 2000 characters")
    if not oauth.client_id:
        yield wrong_at("oauth.client_id", "is empty; the provider shows it beside the client secret")
    if taken := sorted({one.name for one in oauth.extra} & _OWN_PARAMETERS):
        names = ", ".join(taken)
        yield wrong_at("oauth.extra", "has %(names)s, which the hub sets itself; remove it", names=names)
    if oauth.send_as == "query" and not oauth.name:
        yield wrong_at("oauth.name", "is empty; give the query parameter that carries the token")
    if oauth.send_as == "header" and (not oauth.word or secret_error(Auth("bearer"), oauth.word)):
        yield wrong_at("oauth.word", "is empty or has a character that no header may have; use Bearer")


def _url_errors(path: str, url: str) -> list[FieldError]:
    """An address without parameters. Secrets go there, so by http to private addresses only."""
    try:
        origin = compile_url(url).origin
    except TemplateError as error:
        return [FieldError(path, message) for message in error.messages]
    if "<<" in url:
        return [wrong_at(path, "must not have parameters")]
    if origin.startswith("http:") and not _is_private(origin):
        return [wrong_at(path, "must begin with https://, because secrets are sent there")]
    return []


def _is_private(origin: str) -> bool:
    match = _ORIGIN.match(origin)
    try:
        return match is not None and ipaddress.ip_address(match[2].strip("[]")).is_private
    except ValueError:
        return False


def secret_problem(spec: ConnectionSpec, secret: str) -> str:
    """Why this secret cannot be used with these settings; "" when it can."""
    if spec.kind != "oauth2":
        return secret_error(spec.auth, secret)
    if spec.oauth and spec.oauth.grant in ("client_credentials", "jwt_bearer") and not secret:
        return say("the secret is empty")
    if spec.oauth and spec.oauth.grant == "jwt_bearer" and "PRIVATE KEY" not in service_account(secret).private_key:
        return say("is not a private key in PEM, nor the JSON file of a service account")
    return ""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """email: "" when only the key is known."""

    private_key: str = field(repr=False)
    email: str = ""


def service_account(secret: str) -> ServiceAccount:
    """A private key in PEM, or the JSON file that Google makes for a service account."""
    if not secret.lstrip().startswith("{"):
        return ServiceAccount(secret)
    try:
        data = json.loads(secret)
    except (ValueError, RecursionError):
        return ServiceAccount("")
    return ServiceAccount(str(data.get("private_key") or ""), str(data.get("client_email") or ""))
