"""Credentials are added to a rendered request only when it is sent. What is stored, shown or exported has none."""

import base64
import re
from dataclasses import replace
from urllib.parse import quote

from pbxhub.translatable import say
from pbxhub.webhooks.headers import header_name_error
from pbxhub.webhooks.rendered_request import Request
from pbxhub.webhooks.spec import Auth, FieldError, RequestSpec
from pbxhub.webhooks.spec_json import wrong_at
from pbxhub.webhooks.template import TemplateError
from pbxhub.webhooks.urls import compile_url

_PRINTABLE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


def authorize(request: Request, auth: Auth, secret: str) -> Request:
    """The request with its credentials: a header replaces one of the same name, a query parameter is appended.

    secret: the password (basic), the token (bearer), the whole value (header, query); checked by secret_error.
    """
    if auth.kind == "none":
        return request
    if auth.kind == "query":
        joint = "&" if "?" in request.url else "?"
        return replace(request, url=f"{request.url}{joint}{quote(auth.name, safe='')}={quote(secret, safe='')}")
    name, value = _header(auth, secret)
    others = tuple(pair for pair in request.headers if pair[0].lower() != name.lower())
    return replace(request, headers=(*others, (name, value)))


def _header(auth: Auth, secret: str) -> tuple[str, str]:
    if auth.kind == "basic":
        return "Authorization", "Basic " + base64.b64encode(f"{auth.username}:{secret}".encode()).decode()
    if auth.kind == "bearer":
        return "Authorization", f"Bearer {secret}"
    return auth.name, secret


def keeps_secret(before: RequestSpec, after: RequestSpec) -> bool:
    """Whether a webhook keeps its stored secret when its request is changed.

    Not when the authentication, scheme, host or port changes: whoever changes these has to enter the secret again, so
    that nobody can send it to a server of their own.
    """
    return before.auth == after.auth and origin_of(before.url) == origin_of(after.url)


def origin_of(url: str) -> str:
    """Scheme, host and port of a webhook's URL; the whole text if it is not a valid URL."""
    try:
        return compile_url(url).origin
    except TemplateError:
        return url


def check_auth(auth: Auth) -> list[FieldError]:
    """Errors in the public part of the credentials."""
    if auth.kind == "basic":
        if ":" in auth.username or not auth.username.isprintable():
            return [
                wrong_at(
                    "auth.username", "has a colon or a control character, which Basic authentication does not allow"
                )
            ]
    elif auth.kind == "header":
        message = header_name_error(auth.name)
        return [FieldError("auth.name", message)] if message else []
    elif auth.kind == "connection" and not auth.name:
        return [wrong_at("auth.name", "is empty; choose a connection of the project")]
    elif auth.kind == "query" and not auth.name:
        return [wrong_at("auth.name", "is empty; give the name of the query parameter that carries the secret")]
    return []


def secret_error(auth: Auth, secret: str) -> str:
    """Why this secret cannot be sent with this authentication; "" when it can."""
    if auth.kind in ("bearer", "header") and not _PRINTABLE.fullmatch(secret):
        return say(
            "the secret is empty, begins or ends with a space, or has a character that is not allowed in a header"
        )
    if auth.kind == "query" and not secret:
        return say("the secret is empty")
    return ""
