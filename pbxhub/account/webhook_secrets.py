"""The secrets of a webhook: of its authentication, the private key of its certificate, its signing keys.

A secret was entered for one host. It is never sent to another one, however the URL is changed.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.sending.webhook_signatures import SigningKeys, new_key, open_keys, rotate, seal_keys
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.translatable import say
from pbxhub.vault import Vault, VaultError
from pbxhub.webhooks.auth import keeps_secret, origin_of, secret_error
from pbxhub.webhooks.certificates import bare_key, key_error
from pbxhub.webhooks.spec import FieldError, WebhookSpec
from pbxhub.webhooks.spec_json import wrong_at


def given_secret(data: Mapping[str, Any]) -> str | None:
    """The secret of the authentication in a form or a request; None when it gives none."""
    secret = data.get("secret")
    return secret if isinstance(secret, str) and secret else None


def given_key(data: Mapping[str, Any]) -> str | None:
    """The private key of the certificate in a form or a request; None when it gives none."""
    key = data.get("tls_key")
    return key if isinstance(key, str) and key.strip() else None


def secret_errors(spec: WebhookSpec, secret: str | None, kept: Webhook | None) -> list[FieldError]:
    """Why the request cannot be authenticated. kept: the webhook whose secret stays when none is given."""
    if not spec.request.auth.has_secret:
        return []
    if secret is not None:
        message = secret_error(spec.request.auth, secret)
        return [FieldError("auth.secret", message)] if message else []
    if kept is None or not kept.secret_sealed:
        return [wrong_at("auth.secret", "Enter the secret; it is encrypted and never shown again.")]
    return moved_errors(spec, kept)


def moved_errors(spec: WebhookSpec, kept: Webhook) -> list[FieldError]:
    """Whether the secret that is stored must be given again."""
    if not kept.secret_sealed or not spec.request.auth.has_secret or keeps_secret(kept.spec.request, spec.request):
        return []
    if same_host(kept, spec):
        return [wrong_at("auth.secret", "Enter the secret again: it was entered for another kind of authentication.")]
    again = say(
        "Enter the secret again: it was entered for %(old)s and would be sent to %(new)s.", **_hosts(kept, spec)
    )
    return [FieldError("auth.secret", again)]


def key_errors(vault: Vault, spec: WebhookSpec, key: str | None, kept: Webhook | None) -> list[FieldError]:
    """Why the certificate cannot be shown. kept: the webhook whose private key stays when none is given."""
    certificate = spec.request.tls_certificate
    if not certificate:
        return [wrong_at("tls_key", "Give the certificate of this key, too.")] if key else []
    message = key_error(certificate, key) if key is not None else _kept_key_error(vault, spec, kept)
    return [FieldError("tls_key", message)] if message else []


def _kept_key_error(vault: Vault, spec: WebhookSpec, kept: Webhook | None) -> str:
    if kept is None or not kept.tls_key_sealed:
        return say("Enter the private key of the certificate; it is encrypted and never shown again.")
    if not same_host(kept, spec):
        hosts = _hosts(kept, spec)
        return say("Enter the private key again: it was entered for %(old)s and would be used for %(new)s.", **hosts)
    if not _fits(vault, spec.request.tls_certificate, kept.tls_key_sealed):
        return say("Enter the private key of this certificate: the stored one belongs to another certificate.")
    return ""


def signing_errors(spec: WebhookSpec, webhook: Webhook | None) -> list[FieldError]:
    """Whether a signing key is in the way: it cannot be typed again. A copy for another host begins without one."""
    if webhook is None or not webhook.signing_sealed or same_host(webhook, spec):
        return []
    old = origin_of(webhook.spec.request.url)
    message = say("The signing key was made for %(old)s; choose “Do not sign”, save, and make a new key.", old=old)
    return [FieldError("signing", message)]


def same_host(webhook: Webhook, spec: WebhookSpec) -> bool:
    """Whether what is secret of the webhook may go where the spec sends: the same scheme, host and port."""
    return origin_of(webhook.spec.request.url) == origin_of(spec.request.url)


def drop_moved_secrets(webhook: Webhook, spec: WebhookSpec) -> None:
    """Deletes secrets that were entered for another host, before a webhook gets this spec."""
    if webhook.spec is not None and not same_host(webhook, spec):
        webhook.signing_sealed = webhook.tls_key_sealed = ""
    if webhook.spec is not None and not keeps_secret(webhook.spec.request, spec.request):
        webhook.secret_sealed = ""


def store_secrets(vault: Vault, webhook: Webhook, secret: str | None, key: str | None) -> None:
    """Encrypts and stores the secrets for the webhook's present spec; deletes those that it does not use."""
    if not webhook.spec.request.auth.has_secret:
        webhook.secret_sealed = ""
    elif secret is not None:
        webhook.secret_sealed = vault.seal(secret)
    certificate = webhook.spec.request.tls_certificate
    if key is not None:
        webhook.tls_key_sealed = vault.seal(bare_key(key))
    elif not certificate or not _fits(vault, certificate, webhook.tls_key_sealed):
        webhook.tls_key_sealed = ""


def make_signing_key(session: Session, access: Access, webhook: Webhook, *, rotating: bool) -> str:
    """A new signing key, whsec_…, which nobody can read again. rotating: the old one signs beside it for a day."""
    keys = open_keys(access.hub.vault, webhook.signing_sealed) if rotating else None
    fresh = rotate(keys, access.now) if keys else SigningKeys(new_key())
    webhook.signing_sealed = seal_keys(access.hub.vault, fresh)
    touch_webhooks(session, access.project.id)
    note(session, access, "signing key made", webhook.name)
    return fresh.current


def remove_signing_key(session: Session, access: Access, webhook: Webhook) -> None:
    """Requests that leave from now on are not signed."""
    webhook.signing_sealed = ""
    touch_webhooks(session, access.project.id)
    note(session, access, "signing key removed", webhook.name)


def _fits(vault: Vault, certificate: str, sealed: str) -> bool:
    """Whether a sealed key belongs to a certificate. One that cannot be opened now is kept until it can be."""
    try:
        return bool(sealed) and not key_error(certificate, vault.open(sealed))
    except VaultError:
        return True


def _hosts(kept: Webhook, spec: WebhookSpec) -> dict[str, str]:
    return {"old": origin_of(kept.spec.request.url), "new": origin_of(spec.request.url)}
