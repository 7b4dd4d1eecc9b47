"""The button Test of a connection: fetches a token if there is none, and asks the address for a test. Subscribing a CRM
to the address for calls asks its API in the same way."""

from dataclasses import dataclass

from pbxhub.account.access import Access, row_of
from pbxhub.delivery.live_connections import LiveConnection, live_connection
from pbxhub.delivery.prepare import Credentials, NoTokenError, connected, join
from pbxhub.delivery.renewals import renew_now
from pbxhub.redaction import redact_body
from pbxhub.sending.address_guard import read_grant
from pbxhub.sending.exchange import Answer
from pbxhub.store.connections import Connection
from pbxhub.store.ids import new_id
from pbxhub.translatable import Sentence, say
from pbxhub.vault import VaultError
from pbxhub.webhooks.rendered_request import Request
from pbxhub.webhooks.spec import WebhookSpec

_SHOWN = 500  # characters of an answer


@dataclass(frozen=True, slots=True)
class Tested:
    """The result of a test. answer: the beginning of what came back, without secrets."""

    ok: bool
    sentence: Sentence | str
    answer: str = ""


def try_connection(access: Access, connection_id: int, url: str = "") -> Tested:
    """Tests a connection of the project by its address for a test, or asks url by it. Takes up to twenty seconds.

    Raises NotFoundError and BusyError."""
    live = _read(access, connection_id)
    if _needs_consent(live):
        return Tested(False, say("It is not connected yet. Press Connect."))
    access.hub.sender.guard = access.hub.guard()
    with access.hub.slow_requests.one(access.project.id):
        if live.spec.kind == "oauth2" and not live.is_ready(access.now):
            renew_now(access.hub.context, access.hub.sender, connection_id, access.now)
            live = _read(access, connection_id)
        return _tested(access, live, url or live.spec.test_url)


def _read(access: Access, connection_id: int) -> LiveConnection:
    """In a transaction that is over when requests are sent."""
    with access.hub.database.read() as session:
        return live_connection(row_of(session, access, Connection, connection_id))


def _needs_consent(live: LiveConnection) -> bool:
    """Whether there never was a token that could be renewed."""
    oauth = live.spec.oauth
    return bool(oauth and oauth.grant == "authorization_code" and not live.tokens_sealed)


def _tested(access: Access, live: LiveConnection, url: str) -> Tested:
    try:
        known = connected(access.hub.vault, Credentials(), live, url or _somewhere(live), access.now)
    except NoTokenError as error:
        return Tested(False, str(error))
    except VaultError as error:
        return Tested(False, say("The secret cannot be decrypted: %(why)s.", why=str(error)))
    if not url:
        return Tested(True, say("There are credentials. Give an address for a test to see whether they are accepted."))
    message_id = f"test:{new_id()}"
    asked = Request("GET", url, (("Accept", "application/json"),), b"")
    networks = read_grant(access.project.webhook_networks)
    prepared = join(WebhookSpec(), asked, known, message_id, 1, message_id, access.now, networks)
    return _judged(prepared.clean(access.hub.sender.send(prepared.outgoing)))


def _somewhere(live: LiveConnection) -> str:
    """An address that the connection may be used for, when none is given for a test."""
    host = live.spec.hosts[0].replace("*.", "any.")
    return f"{'' if host.startswith('http://') else 'https://'}{host}/"


def _judged(answer: Answer) -> Tested:
    text = redact_body(answer.body).decode("utf-8", "replace")[:_SHOWN]  # cut last, or a half of a secret would stay
    if answer.status_code is None:
        return Tested(False, answer.message)
    if answer.status_code in (401, 403):
        refused = say("The credentials were refused (status %(status)s).", status=answer.status_code)
        return Tested(False, refused, text)
    if answer.outcome == "ok":
        return Tested(True, say("The credentials were accepted (status %(status)s).", status=answer.status_code), text)
    return Tested(False, answer.message, text)
