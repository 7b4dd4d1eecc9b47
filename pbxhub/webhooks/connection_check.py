"""Validates a connection before it is saved: all that is wrong with its settings, and with its secret."""

import ipaddress
from collections.abc import Iterator

from pbxhub.translatable import say
from pbxhub.webhooks.auth import check_auth, secret_error
from pbxhub.webhooks.connection_spec import HOST, ORIGIN, ConnectionSpec, OAuth, may_go_to, service_account
from pbxhub.webhooks.spec import Auth
from pbxhub.webhooks.spec_json import FieldError, wrong_at
from pbxhub.webhooks.template import TemplateError
from pbxhub.webhooks.urls import compile_url

MOST_HOSTS = 20
# What the hub itself tells the address at which the user agrees (RFC 6749, 4.1.1; RFC 7636, 4.3).
_OWN_PARAMETERS = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}
)


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
    match = HOST.fullmatch(entry.lower())
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
    match = ORIGIN.match(origin)
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
