"""Connecting by consent: the user is led to the provider, agrees there, and comes back with a code for tokens.

The order of events: 1. begin_consent makes a random state and a PKCE verifier, which the browser's session keeps; 2.
the user agrees at the provider, which sends the browser to CALLBACK with a code and the state; 3. the page compares the
state with that of the session, so that nobody can hand a user the consent of a stranger; 4. finish_consent exchanges
the code, with the verifier, at the token address of the same connection, and stores the tokens.
"""

import secrets
from dataclasses import dataclass, field

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from pbxhub.account.access import Access, row_of
from pbxhub.account.audit_log import note
from pbxhub.delivery.renewals import store_granted
from pbxhub.sending.address_guard import read_grant
from pbxhub.sending.oauth_tokens import Provider, TokenRefused, fetch_by_code
from pbxhub.store.accounts import lock_project
from pbxhub.store.connections import Connection
from pbxhub.translatable import Sentence, say
from pbxhub.vault import VaultError


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent that has begun. url: where the user agrees. version: of the connection for which it is asked."""

    connection_id: int
    version: int
    state: str = field(repr=False)
    verifier: str = field(repr=False)
    url: str = field(default="", repr=False)


def begin_consent(access: Access, row: Connection) -> Consent | None:
    """None for a connection that needs no consent."""
    oauth = row.spec.oauth
    if row.spec.kind != "oauth2" or oauth is None or oauth.grant != "authorization_code":
        return None
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48) if oauth.pkce else ""
    asked = {one.name: one.value for one in oauth.extra}
    if verifier:
        asked |= {"code_challenge": create_s256_code_challenge(verifier), "code_challenge_method": "S256"}
    url = prepare_grant_uri(
        oauth.authorize_url, oauth.client_id, "code", access.hub.links.consent_callback, oauth.scopes, state
    )
    return Consent(row.id, row.version, state, verifier, add_params_to_uri(url, asked.items()))


def finish_consent(access: Access, consent: Consent, code: str) -> Sentence | None:
    """Exchanges the code and stores the tokens; the sentence says why not. Raises NotFoundError and BusyError."""
    hub = access.hub
    with hub.database.read() as session:
        row = row_of(session, access, Connection, consent.connection_id)
    if row.version != consent.version or row.spec.oauth is None:
        return _CHANGED
    try:
        secret = hub.vault.open(row.secret_sealed)
    except VaultError as error:
        return say("The secret cannot be decrypted: %(why)s.", why=str(error))
    provider = Provider(row.spec.oauth, secret, read_grant(access.project.webhook_networks))
    hub.sender.guard = hub.guard()
    with hub.slow_requests.one(access.project.id):
        granted = fetch_by_code(hub.sender, provider, code, consent.verifier, access.hub.links.consent_callback)
    if isinstance(granted, TokenRefused):
        return granted.sentence
    with hub.database.write() as session:
        lock_project(session, access.project.id)  # store_granted changes it, and others lock it first
        row = row_of(session, access, Connection, consent.connection_id, changing=True)
        if row.version != consent.version:
            return _CHANGED
        row.tokens_sealed = ""  # a refresh token of an earlier consent is not kept beside the new access token
        store_granted(hub.context, session, row, granted, access.now)
        note(session, access, "connection connected", row.name)
    return None


_CHANGED = say("The connection was changed or renewed meanwhile. Press Connect again.")
