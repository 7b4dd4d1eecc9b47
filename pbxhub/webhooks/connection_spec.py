"""The settings of a connection: credentials for another system that are kept once and used by many webhooks.

Secrets and tokens are never part of the settings; they are encrypted beside them (store/connections.py).
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from pbxhub.webhooks.spec import Auth
from pbxhub.webhooks.spec_json import read_as, write

Grant = Literal["authorization_code", "client_credentials", "jwt_bearer", "refresh_token"]
ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?(?=[/?]|$)", re.IGNORECASE)
HOST = re.compile(r"(?:(http)://)?(\*\.)?([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
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
    match = ORIGIN.match(url)
    if match is None:
        return False
    scheme, host = match[1].lower(), match[2].lower().rstrip(".")
    port = int(match[3] or _DEFAULT_PORTS[scheme])
    return any(_allows(entry, scheme, host, port) for entry in spec.hosts)


def _allows(entry: str, scheme: str, host: str, port: int) -> bool:
    match = HOST.fullmatch(entry.lower())
    if match is None or scheme != (match[1] or "https") or port != int(match[4] or _DEFAULT_PORTS[scheme]):
        return False
    return host.endswith(f".{match[3]}") if match[2] else host == match[3]


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
