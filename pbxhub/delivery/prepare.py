"""What joins a stored request when it leaves: credentials, the webhook's id and attempt, the signature."""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from pbxhub.delivery.outbox.claim import Claimed
from pbxhub.delivery.outgoing import SYSTEM_TLS, Answer, Outgoing, TlsOptions
from pbxhub.delivery.redaction import HIDDEN, scrub, scrub_bytes
from pbxhub.delivery.signing import SigningKeys, identify, open_keys
from pbxhub.store.vault import Vault
from pbxhub.webhooks.auth import authorize
from pbxhub.webhooks.request import Request
from pbxhub.webhooks.spec import RequestSpec


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
    """The request as it leaves. Raises VaultError when a secret was sealed with another key."""
    webhook, spec = claimed.webhook, claimed.webhook.spec
    keys = _open_keys(vault, webhook.signing_sealed)
    added = identify(claimed.request, str(claimed.id), claimed.attempt, keys, now)
    stored = claimed.request
    request = Request(stored.method, stored.url, (*stored.headers, *added), stored.body)
    secrets: tuple[str, ...] = ()
    if spec.request.auth.kind != "none":
        secret = _open_secret(vault, webhook.secret_sealed)
        authorized = authorize(request, spec.request.auth, secret)
        joined = [pair for pair in authorized.headers if pair not in request.headers]
        added += tuple((name, HIDDEN) for name, _ in joined)
        secrets = (secret, *(value.rpartition(" ")[2] for _, value in joined))
        request = authorized
    outgoing = Outgoing(
        request=request,
        pool=f"webhook:{webhook.id}",
        deadline=float(spec.limits.deadline),
        tls=tls_of(vault, spec.request, webhook.tls_key_sealed),
        follow_to_get=spec.request.follow_to_get,
    )
    return Prepared(outgoing, added, secrets)


def tls_of(vault: Vault, request: RequestSpec, key_sealed: str) -> TlsOptions:
    """Whom a webhook trusts and what it shows of itself. Raises VaultError when the key was sealed with another one."""
    if not (request.tls_ca or request.tls_certificate):
        return SYSTEM_TLS
    key = _open_secret(vault, key_sealed) if request.tls_certificate and key_sealed else ""
    return TlsOptions(request.tls_ca, request.tls_certificate if key else "", key)


# Opening derives a key and decrypts, 0.1 ms: too much for every request of a busy webhook.
@lru_cache(maxsize=1000)
def _open_secret(vault: Vault, sealed: str) -> str:
    return vault.open(sealed)


@lru_cache(maxsize=1000)
def _open_keys(vault: Vault, sealed: str) -> SigningKeys | None:
    return open_keys(vault, sealed)
