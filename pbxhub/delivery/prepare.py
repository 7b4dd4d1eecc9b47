"""Completes a stored request before it is sent: credentials, webhook-id and attempt, signature."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

from pbxhub.delivery.live_connections import LiveConnection, open_secret
from pbxhub.delivery.open_recordings import OpenRecording
from pbxhub.delivery.outbox.claimed import Claimed
from pbxhub.delivery.webhook_cache import LiveWebhook
from pbxhub.redaction import HIDDEN, scrub, scrub_bytes
from pbxhub.sending.address_guard import NetworkGrant
from pbxhub.sending.exchange import SYSTEM_TLS, Answer, Outgoing, TlsOptions
from pbxhub.sending.upload import Upload
from pbxhub.sending.webhook_signatures import SigningKeys, identify, open_keys
from pbxhub.vault import Vault
from pbxhub.webhooks.auth import authorize
from pbxhub.webhooks.connection_spec import may_go_to
from pbxhub.webhooks.request import Request
from pbxhub.webhooks.spec import Auth, RequestSpec, WebhookSpec


class UnsendableError(Exception):
    """The credentials must not leave with this request: they are for another host, or gone. The message says why."""


class NoTokenError(Exception):
    """The connection has no valid token at this moment. The message says why."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The decrypted secrets of a webhook: of its authentication, its signing keys, the key of its certificate.

    auth: how the secret of a connection is sent; None for that of the webhook itself.
    """

    secret: str = field(default="", repr=False)
    keys: SigningKeys | None = field(default=None, repr=False)
    tls_key: str = field(default="", repr=False)
    auth: Auth | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """shown: the headers added to the stored request, credentials hidden. secrets: texts that must not be stored, as
    entered and as sent."""

    outgoing: Outgoing
    shown: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...]

    def close(self) -> None:
        """Call it when the request has ended: closes the file that it sent."""
        if self.outgoing.upload:
            self.outgoing.upload.close()

    def clean(self, answer: Answer) -> Answer:
        """The answer without the secrets: a receiver may send them back."""
        known = self.secrets
        if not known:
            return answer
        headers = tuple((name, scrub(value, known)) for name, value in answer.headers)
        return replace(
            answer,
            headers=headers,
            body=scrub_bytes(answer.body, known),
            message=scrub(answer.message, known),
            note=scrub(answer.note, known),
        )


def prepare(vault: Vault, claimed: Claimed, now: datetime, recording: OpenRecording | None = None) -> Prepared:
    """The request as it will be sent. recording: the file that it sends.

    Raises VaultError if a secret was sealed with another key, UnsendableError and NoTokenError."""
    webhook = claimed.webhook
    known = _credentials(vault, webhook)
    if known != Credentials() and _has_moved(webhook, claimed.request):
        raise UnsendableError(
            "the URL of the webhook was changed to another host; send the delivery again with the current settings"
        )
    if webhook.spec.request.auth.kind == "connection":
        known = connected(vault, known, webhook.connection, claimed.request.url, now)
    return join(
        webhook.spec, claimed.request, known, str(claimed.id), claimed.attempt, f"webhook:{webhook.id}", now,
        webhook.networks, recording,
    )  # fmt: skip


def join(
    spec: WebhookSpec,
    stored: Request,
    known: Credentials,
    message_id: str,
    attempt: int,
    pool: str,
    now: datetime,
    networks: NetworkGrant,
    recording: OpenRecording | None = None,
) -> Prepared:
    """A rendered request with everything that is added before sending. Test requests are made here, too."""
    upload = Upload(stored.body, stored.files, recording.file, recording.size) if recording else None
    body = upload.parts() if upload else (stored.body,)
    added = identify(message_id, attempt, known.keys, now, body)
    if upload:
        upload.measure()
    request = replace(stored, headers=(*stored.headers, *added))
    secrets: tuple[str, ...] = ()
    auth = known.auth or spec.request.auth
    if auth.kind != "none":
        authorized = authorize(request, auth, known.secret)
        joined = [pair for pair in authorized.headers if pair not in request.headers]
        added += tuple((name, HIDDEN) for name, _ in joined)
        secrets = (known.secret, *(value.rpartition(" ")[2] for _, value in joined))
        request = authorized
    tls = _tls(spec.request, known.tls_key)
    outgoing = Outgoing(
        request, pool, float(spec.limits.deadline), tls, spec.request.follow_to_get, networks, upload=upload
    )
    return Prepared(outgoing, added, secrets)


def _has_moved(webhook: LiveWebhook, stored: Request) -> bool:
    """Whether the webhook has another host now: the stored request keeps its address, and the secrets are of today."""
    return not (isinstance(webhook.made, str) or stored.url.startswith(f"{webhook.made.request.url.origin}/"))


def _credentials(vault: Vault, webhook: LiveWebhook) -> Credentials:
    request = webhook.spec.request
    return Credentials(
        open_secret(vault, webhook.secret_sealed) if request.auth.has_secret else "",
        _open_keys(vault, webhook.signing_sealed),
        open_secret(vault, webhook.tls_key_sealed) if request.tls_certificate and webhook.tls_key_sealed else "",
    )


def connected(
    vault: Vault, known: Credentials, connection: LiveConnection | None, url: str, now: datetime
) -> Credentials:
    """The credentials with those of the connection, which are sent to its own hosts only."""
    if connection is None:
        raise UnsendableError("the connection that the webhook uses was deleted; choose another one in the webhook")
    if not may_go_to(connection.spec, url):
        raise UnsendableError(f"the connection {connection.name} may not be used for the host of this URL")
    if not connection.is_ready(now):
        raise NoTokenError(connection.reason or f"The connection {connection.name} has no valid token.")
    return replace(known, secret=connection.credential(vault), auth=connection.spec.auth)


def _tls(request: RequestSpec, key: str) -> TlsOptions:
    """The certificate authority that a webhook trusts, and its client certificate."""
    if not (request.tls_ca or request.tls_certificate):
        return SYSTEM_TLS
    return TlsOptions(request.tls_ca, request.tls_certificate if key else "", key)


@lru_cache(maxsize=1000)
def _open_keys(vault: Vault, sealed: str) -> SigningKeys | None:
    return open_keys(vault, sealed)
