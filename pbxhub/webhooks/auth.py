"""Credentials join a rendered request only when it is sent; what is stored, shown or exported never has them."""

import base64
import re
from dataclasses import replace
from urllib.parse import quote

from pbxhub.translatable import say
from pbxhub.webhooks.headers import header_name_error
from pbxhub.webhooks.message import Request
from pbxhub.webhooks.spec import Auth, FieldError, RequestSpec
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
    """Whether the sealed secret of a webhook may stay when its request is changed.

    Not when it would travel another way or to another scheme, host or port: whoever changes those gives it again.
    """
    return before.auth == after.auth and origin_of(before.url) == origin_of(after.url)


def origin_of(url: str) -> str:
    """Scheme, host and port of a webhook's address; all of an address that cannot be sent to."""
    try:
        return compile_url(url).origin
    except TemplateError:
        return url


def check_auth(auth: Auth) -> list[FieldError]:
    """What is wrong with the public part of the credentials."""
    if auth.kind == "basic":
        if ":" in auth.username or not auth.username.isprintable():
            return [FieldError("auth.username", say("has a colon or a control character, which Basic cannot carry"))]
    elif auth.kind == "header":
        message = header_name_error(auth.name)
        return [FieldError("auth.name", message)] if message else []
    elif auth.kind == "query" and not auth.name:
        return [FieldError("auth.name", say("is empty; give the name of the query parameter that carries the secret"))]
    return []


def secret_error(auth: Auth, secret: str) -> str:
    """Why this secret cannot be sent that way; "" when it can."""
    if auth.kind in ("bearer", "header") and not _PRINTABLE.fullmatch(secret):
        return say("the secret is empty, begins or ends with a space, or has a character that a header cannot carry")
    if auth.kind == "query" and not secret:
        return say("the secret is empty")
    return ""
