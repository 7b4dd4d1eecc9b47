"""A webhook as flat fields: what an editor compares, and what the audit log keeps."""

from collections.abc import Mapping
from typing import Any

from pbxhub.account.secret_visibility import redacted_spec
from pbxhub.calls.stages import JSON
from pbxhub.store.webhooks import Webhook, WebhookVersion
from pbxhub.webhooks.import_export import leaves
from pbxhub.webhooks.spec import dump_spec


def all_fields(webhook: Webhook) -> dict[str, JSON]:
    """Every field with its value; no sealed secret is in a spec."""
    return {**own_fields(webhook), **_set_of(webhook), **flatten(dump_spec(webhook.spec))}


def logged_fields(webhook: Webhook) -> dict[str, JSON]:
    """The same for the audit log, which stores them: without the secrets in URLs, headers and bodies."""
    return {**own_fields(webhook), **_set_of(webhook), **flatten(redacted_spec(webhook.spec))}


def changed_fields(webhook: Webhook, before: Mapping[str, JSON], raw: Mapping[str, JSON]) -> dict[str, JSON]:
    """logged_fields after a change. before, raw: logged_fields and all_fields before it. A field of which nothing but
    a secret has changed says so: redacted, both would look alike."""
    after, now_raw = logged_fields(webhook), all_fields(webhook)
    hidden = [name for name in after if after[name] == before.get(name) and now_raw.get(name) != raw.get(name)]
    return {**after, **{name: f"{after[name]} (another secret)" for name in hidden}}


def own_fields(webhook: Webhook | WebhookVersion) -> dict[str, JSON]:
    """What a webhook has beside its spec."""
    return {"name": webhook.name, "stage": webhook.stage, "enabled": webhook.enabled}


def _set_of(webhook: Webhook) -> dict[str, JSON]:
    return {"set": webhook.set_name} if webhook.set_name else {}


def flatten(data: Any) -> dict[str, JSON]:
    """Nested JSON as path -> leaf: {"request.url": "https://…", "request.headers[0].name": "X-Key"}."""
    return dict(leaves(data, ""))
