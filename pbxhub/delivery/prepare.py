"""What joins a stored request when it leaves: credentials, the webhook's id and attempt, the signature."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

from pbxhub.delivery.outbox.claimed import Claimed
from pbxhub.delivery.webhook_cache import LiveWebhook
from pbxhub.redaction import HIDDEN, scrub, scrub_bytes
from pbxhub.sending.address_guard import NetworkGrant
from pbxhub.sending.exchange import SYSTEM_TLS, Answer, Outgoing, TlsOptions
from pbxhub.sending.webhook_signatures import SigningKeys, identify, open_keys
from pbxhub.vault import Vault
from pbxhub.webhooks.auth import authorize
from pbxhub.webhooks.request import Request
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec


class OtherHostError(Exception):
    """What is secret of a webhook was given for another host than a stored request goes to."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is secret of a webhook, opened: of its authentication, its signing keys, the key of its certificate."""

    secret: str = field(default="", repr=False)
    keys: SigningKeys | None = field(default=None, repr=False)
    tls_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """shown: the headers that joined the stored request, credentials hidden. secrets: what must not be stored, in
    the form it was sent in, too."""

    outgoing: Outgoing
    shown: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...]

    def clean(self, answer: Answer) -> Answer:
        """The answer without the secret: a receiver may send back what it got."""
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


def prepare(vault: Vault, claimed: Claimed, now: datetime) -> Prepared:
    """The request as it leaves. Raises VaultError when a secret was sealed with another key, and OtherHostError."""
    webhook = claimed.webhook
    known = _credentials(vault, webhook)
    if known != Credentials() and _has_moved(webhook, claimed.request):
        raise OtherHostError("the address has been changed to another host since; send it again as it is set up now")
    return join(
        webhook.spec, claimed.request, known, str(claimed.id), claimed.attempt, f"webhook:{webhook.id}", now,
        webhook.networks,
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
) -> Prepared:
    """A rendered request with everything that joins it when it leaves; a test is put together here, too."""
    added = identify(stored, message_id, attempt, known.keys, now)
    request = Request(stored.method, stored.url, (*stored.headers, *added), stored.body)
    secrets: tuple[str, ...] = ()
    if spec.request.auth.kind != "none":
        authorized = authorize(request, spec.request.auth, known.secret)
        joined = [pair for pair in authorized.headers if pair not in request.headers]
        added += tuple((name, HIDDEN) for name, _ in joined)
        secrets = (known.secret, *(value.rpartition(" ")[2] for _, value in joined))
        request = authorized
    tls = _tls(spec.request, known.tls_key)
    outgoing = Outgoing(request, pool, float(spec.limits.deadline), tls, spec.request.follow_to_get, networks)
    return Prepared(outgoing, added, secrets)


def _has_moved(webhook: LiveWebhook, stored: Request) -> bool:
    """A request keeps the address it was rendered with; what is secret now may have been given for another host."""
    return not (isinstance(webhook.made, str) or stored.url.startswith(f"{webhook.made.request.url.origin}/"))


def _credentials(vault: Vault, webhook: LiveWebhook) -> Credentials:
    request = webhook.spec.request
    return Credentials(
        _open_secret(vault, webhook.secret_sealed) if request.auth.kind != "none" else "",
        _open_keys(vault, webhook.signing_sealed),
        _open_secret(vault, webhook.tls_key_sealed) if request.tls_certificate and webhook.tls_key_sealed else "",
    )


def _tls(request: RequestSpec, key: str) -> TlsOptions:
    """Whom a webhook trusts and what it shows of itself."""
    if not (request.tls_ca or request.tls_certificate):
        return SYSTEM_TLS
    return TlsOptions(request.tls_ca, request.tls_certificate if key else "", key)


# Opening derives a key and decrypts, 0.1 ms: too much for every request of a busy webhook.
@lru_cache(maxsize=1000)
def _open_secret(vault: Vault, sealed: str) -> str:
    return vault.open(sealed)


@lru_cache(maxsize=1000)
def _open_keys(vault: Vault, sealed: str) -> SigningKeys | None:
    return open_keys(vault, sealed)
