"""A real OAuth2 provider: Authlib's own server, with an API that its tokens open. For tests of connections."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7523 import JWTBearerGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from flask import Flask, Response, jsonify, redirect, request
from werkzeug.serving import make_server

CLIENT, SECRET, SCOPES = "pbxhub-client", "cl1ent-s3cret", "calls contacts"


class Client(ClientMixin):
    """The one client of this provider."""

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str) -> str:
        return " ".join(word for word in (scope or "").split() if word in SCOPES.split())

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri.endswith("/connections/callback")

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in ("client_secret_basic", "client_secret_post")

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return True


@dataclass
class Token(TokenMixin):
    access: str
    refresh: str
    scope: str
    ends: float
    revoked: bool = False
    used_up: bool = False  # its refresh token

    def check_client(self, client: Client) -> bool:
        return True

    def get_scope(self) -> str:
        return self.scope

    def get_expires_in(self) -> int:
        return int(self.ends - time.time())

    def is_expired(self) -> bool:
        return time.time() > self.ends

    def is_revoked(self) -> bool:
        return self.revoked

    def get_user(self) -> str:
        return "anna"

    def get_client(self) -> Client:
        return Client()


@dataclass
class Code:
    code: str
    redirect_uri: str
    scope: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class OAuthServer:
    """What the provider remembers, and how it behaves. lasts: seconds of a token's life; None: it does not say.

    rotates: each refresh token works once. down: answers 503. asked: grants in the order of the requests. before_work
    runs before a token request is looked at, before_answer when the tokens are made and not yet sent. served: paths of
    the API that were opened.
    """

    lasts: int | None = 3600
    rotates: bool = True
    down: bool = False
    agrees: bool = True
    port: int = 0
    asked: list[str] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    codes: dict[str, Code] = field(default_factory=dict)
    served: list[str] = field(default_factory=list)
    before_work: Callable[[], None] = lambda: None
    before_answer: Callable[[], None] = lambda: None
    public_key: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def revoke_all(self) -> None:
        for token in self.tokens:
            token.revoked = token.used_up = True

    def revoke_access(self) -> None:
        """The access tokens end before their time; the refresh tokens stay."""
        for token in self.tokens:
            token.revoked = True


@contextmanager
def oauth_server() -> Iterator[OAuthServer]:
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # the tests speak http
    state = OAuthServer()
    server = make_server("127.0.0.1", 0, _app(state), threaded=True)
    server.daemon_threads = True
    state.port = server.port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
        del os.environ["AUTHLIB_INSECURE_TRANSPORT"]


def _app(state: OAuthServer) -> Flask:
    app = Flask("provider")
    app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
    server = AuthorizationServer(app, query_client=lambda client_id: Client() if client_id == CLIENT else None,
                                 save_token=lambda token, request: _save(state, token))  # fmt: skip
    _register(server, state)
    protect = ResourceProtector()
    protect.register_token_validator(_validator(state))

    @app.before_request
    def note() -> Response | None:
        if request.path == "/token":
            state.asked.append(request.form.get("grant_type", ""))
        return Response("maintenance", 503) if state.down else None

    @app.get("/authorize")
    def authorize() -> Any:
        if not state.agrees:
            back = request.args["redirect_uri"]
            return redirect(f"{back}?error=access_denied&error_description=No,+thanks&state={request.args['state']}")
        grant = server.get_consent_grant(end_user="anna")
        return server.create_authorization_response(grant_user="anna", grant=grant)

    @app.post("/token")
    def token() -> Any:
        state.before_work()
        answer = server.create_token_response()
        if state.lasts is None and answer.status_code == 200:
            data = answer.get_json()
            data.pop("expires_in")
            answer.set_data(jsonify(data).get_data())
        state.before_answer()
        return answer

    @app.route("/api/<path:rest>", methods=["GET", "POST"])
    @protect()
    def api(rest: str) -> Any:
        state.served.append(rest)
        return jsonify(ok=True)

    return app


def _save(state: OAuthServer, token: dict[str, Any]) -> None:
    ends = time.time() + float(token.get("expires_in", 3600))
    state.tokens.append(Token(token["access_token"], token.get("refresh_token", ""), token.get("scope", ""), ends))


def _register(server: AuthorizationServer, state: OAuthServer) -> None:
    class ByCode(grants.AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]  # noqa: RUF012

        def save_authorization_code(self, code: str, request: Any) -> None:
            data = request.payload.data
            state.codes[code] = Code(
                code, request.payload.redirect_uri, request.payload.scope or "", data.get("code_challenge", ""),
                data.get("code_challenge_method", ""),
            )  # fmt: skip

        def query_authorization_code(self, code: str, client: Client) -> Code | None:
            return state.codes.get(code)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            del state.codes[authorization_code.code]

        def authenticate_user(self, authorization_code: Code) -> str:
            return "anna"

    class Refresh(grants.RefreshTokenGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]  # noqa: RUF012
        INCLUDE_NEW_REFRESH_TOKEN = True

        def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
            return next((one for one in state.tokens if one.refresh == refresh_token and not one.used_up), None)

        def authenticate_user(self, refresh_token: Token) -> str:
            return "anna"

        def revoke_old_credential(self, refresh_token: Token) -> None:
            refresh_token.revoked = True
            refresh_token.used_up = state.rotates

    class Signed(JWTBearerGrant):
        def resolve_issuer_client(self, issuer: str) -> Client | None:
            return Client() if issuer == "robot@example.com" else None

        def resolve_client_public_key(self, client: Client) -> Any:
            return state.public_key

        def get_audiences(self) -> list[str]:
            return [f"{state.url}/token"]

        def authenticate_user(self, subject: str) -> str:
            return subject

        def has_granted_permission(self, client: Client, user: str) -> bool:
            return True

    server.register_grant(ByCode, [CodeChallenge(required=True)])
    server.register_grant(Refresh)
    server.register_grant(grants.ClientCredentialsGrant)
    server.register_grant(Signed)
    server.register_token_generator("default", lambda **given: _generated(state, **given))


_count = iter(range(1_000_000))


def _generated(state: OAuthServer, grant_type: str, client: Client, user: Any = None, scope: Any = None,
               expires_in: Any = None, include_refresh_token: bool = True) -> dict[str, Any]:  # fmt: skip
    number = next(_count)
    token = {"token_type": "Bearer", "access_token": f"acc3ss-{number:04d}-x", "scope": scope or "",
             "expires_in": 3600 if state.lasts is None else state.lasts}  # fmt: skip
    if grant_type in ("authorization_code", "refresh_token"):
        token["refresh_token"] = f"r3fresh-{number:04d}-x"
    return token


def _validator(state: OAuthServer) -> BearerTokenValidator:
    class Validator(BearerTokenValidator):
        def authenticate_token(self, token_string: str) -> Token | None:
            return next((one for one in state.tokens if one.access == token_string), None)

    return Validator()
