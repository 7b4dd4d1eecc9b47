"""Fetches tokens from an OAuth2 provider: Authlib makes the requests and reads the answers, our sender sends them.

So a provider is reached like every receiver: past the address guard, within a deadline, without redirects.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn
from urllib.parse import urlencode

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.client import OAuth2Client
from authlib.oauth2.rfc7523 import JWTBearerGrant
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from pbxhub.json_reader import UnreadableError, read_json
from pbxhub.redaction import redact_text, scrub
from pbxhub.sending.address_guard import NetworkGrant
from pbxhub.sending.exchange import Answer, Outgoing
from pbxhub.sending.outcomes import may_pass
from pbxhub.sending.sender import Sender
from pbxhub.translatable import Sentence, say
from pbxhub.webhooks.connection_spec import OAuth, service_account
from pbxhub.webhooks.rendered_request import Request

DEADLINE = 10.0  # seconds
_JWT_LIVES = 300  # seconds
_LONGEST_WORDS = 500  # of a provider, in characters
_METHODS = {"header": "client_secret_basic", "body": "client_secret_post"}


@dataclass(frozen=True, slots=True)
class Granted:
    """What the provider granted. refresh: "" when it gave no new one. lasts: seconds; None when it does not say."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    lasts: float | None


@dataclass(frozen=True, slots=True)
class TokenRefused:
    """Why there is no token: a sentence with the provider's words. passing: the same request may succeed later."""

    sentence: Sentence
    passing: bool


@dataclass(frozen=True, slots=True)
class Provider:
    """Where tokens come from. secret: of the client, or the private key of a service account."""

    oauth: OAuth
    secret: str = field(repr=False)
    networks: NetworkGrant


def fetch_by_code(
    sender: Sender, provider: Provider, code: str, verifier: str, redirect_uri: str
) -> Granted | TokenRefused:
    """Exchanges the code that the browser brought back."""
    given = {"code": code, "redirect_uri": redirect_uri, **({"code_verifier": verifier} if verifier else {})}
    return _fetch(sender, provider, "authorization_code", given)


def fetch_again(
    sender: Sender, provider: Provider, refresh: str, redirect_uri: str, asked_on: datetime
) -> Granted | TokenRefused:
    """The next token. refresh: the stored refresh token; "" for grants that need none. asked_on: by the hub's clock."""
    grant = provider.oauth.grant
    scope = {"scope": provider.oauth.scopes} if provider.oauth.scopes else {}
    if grant == "client_credentials":
        return _fetch(sender, provider, grant, scope)
    if grant == "jwt_bearer":
        assertion = _assertion(provider, asked_on)
        if isinstance(assertion, TokenRefused):
            return assertion
        return _fetch(sender, provider, JWTBearerGrant.GRANT_TYPE, {"assertion": assertion})
    if not refresh:
        return TokenRefused(say("The token has expired, and the provider gave no refresh token. Connect again."), False)
    again = {"redirect_uri": redirect_uri} if provider.oauth.redirect_on_refresh else {}
    return _fetch(sender, provider, "refresh_token", {"refresh_token": refresh, **again})


def _fetch(sender: Sender, provider: Provider, grant: str, given: Mapping[str, str]) -> Granted | TokenRefused:
    session = _Session(sender, provider.networks)
    method = _METHODS[provider.oauth.client_auth] if _has_client_secret(provider) else "none"
    client = OAuth2Client(session, provider.oauth.client_id, provider.secret, token_endpoint_auth_method=method)
    try:
        token = client.fetch_token(provider.oauth.token_url, grant_type=grant, **given)
    except _NoAnswerError as error:
        why = _clean(str(error), provider, given)
        return TokenRefused(say("The provider cannot be asked for a token: %(why)s", why=why), error.passing)
    except OAuth2Error as error:
        words = ": ".join(filter(None, (str(error.error), str(error.description or ""))))
        return _refused(words, provider, given)
    except ValueError:
        return _refused(say("its answer cannot be read"), provider, given)
    return _granted(token) or _refused(_own_words(token), provider, given)


def _has_client_secret(provider: Provider) -> bool:
    return bool(provider.secret) and provider.oauth.grant != "jwt_bearer"


def _granted(token: Mapping[str, Any]) -> Granted | None:
    """None for an answer without a usable token."""
    access, refresh, lasts = token.get("access_token"), token.get("refresh_token"), token.get("expires_in")
    if not isinstance(access, str) or not access.isascii() or not access.isprintable() or " " in access or not access:
        return None
    try:
        seconds = float(str(lasts))
    except ValueError:
        seconds = 0.0
    return Granted(access, refresh if isinstance(refresh, str) else "", seconds if 0 < seconds < 1e9 else None)


def _own_words(token: Mapping[str, Any]) -> str:
    """What a provider says that does not answer as the standard wants: amoCRM has title, detail and hint."""
    said = [str(token[name]) for name in ("title", "detail", "hint", "message", "reason") if token.get(name)]
    return ": ".join(said) or say("its answer has no access_token")


def _refused(words: str, provider: Provider, given: Mapping[str, str]) -> TokenRefused:
    return TokenRefused(say("The provider refused: %(words)s", words=_clean(words, provider, given)), False)


def _clean(words: str, provider: Provider, given: Mapping[str, str]) -> str:
    """The words without secrets: a provider may send the request back."""
    secrets = (provider.secret, *(given.get(name, "") for name in ("code", "refresh_token", "assertion")))
    clean = redact_text(scrub(words, secrets))
    return "".join(each if each.isprintable() else " " for each in clean)[:_LONGEST_WORDS]


def _assertion(provider: Provider, asked_on: datetime) -> str | TokenRefused:
    """The signed statement of a service account (RFC 7523). Providers refuse one that is dated in the future."""
    oauth, key, now = provider.oauth, service_account(provider.secret), int(asked_on.timestamp())
    claims = {"scope": oauth.scopes} if oauth.scopes else {}
    try:
        signed = JWTBearerGrant.sign(
            RSAKey.import_key(key.private_key), key.email or oauth.client_id, oauth.token_url, oauth.subject or None,
            issued_at=now, expires_at=now + _JWT_LIVES, claims=claims, header={"alg": "RS256"},
        )  # fmt: skip
    except (JoseError, ValueError, TypeError):
        return TokenRefused(say("The private key cannot be read. Enter it again: PEM, RSA, without a password."), False)
    return str(signed)


class _NoAnswerError(Exception):
    """No usable answer came. The message says why; passing: it may come later."""

    def __init__(self, sentence: str, passing: bool) -> None:
        super().__init__(sentence)
        self.passing = passing


class _TokenAnswer:
    """An answer as Authlib reads it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.status_code = answer.status_code or 0

    def json(self) -> Any:
        try:
            return read_json(self._answer.body)
        except UnreadableError as error:
            raise ValueError(error.sentence) from None

    def raise_for_status(self) -> None:
        if self.status_code >= 300:
            _give_up(self._answer)


def _give_up(answer: Answer) -> NoReturn:
    raise _NoAnswerError(answer.message, may_pass(answer.outcome, answer.status_code))


class _Session:
    """What Authlib sends with."""

    def __init__(self, sender: Sender, networks: NetworkGrant) -> None:
        self._sender = sender
        self._networks = networks

    def post(self, url: str, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> _TokenAnswer:
        target, own, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        request = Request("POST", target, tuple(own.items()), body.encode())
        answer = self._sender.send(Outgoing(request, f"tokens:{url}", DEADLINE, networks=self._networks))
        if answer.status_code is None or may_pass(answer.outcome, answer.status_code) or answer.outcome == "http_3xx":
            _give_up(answer)
        return _TokenAnswer(answer)
