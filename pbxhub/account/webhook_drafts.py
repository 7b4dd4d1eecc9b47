"""Reads and checks a webhook from the editor, a program or a ready-made form as a whole."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.webhook_secrets import given_key, given_secret, key_errors, secret_errors, signing_errors
from pbxhub.store.accounts import lock_project
from pbxhub.store.connections import connections_of
from pbxhub.store.webhooks import Webhook
from pbxhub.translatable import say
from pbxhub.webhooks.auth import origin_of
from pbxhub.webhooks.chains import check_chains, check_wait, with_names
from pbxhub.webhooks.check import check_name, check_set_name, check_spec, check_stage
from pbxhub.webhooks.connection_spec import ConnectionSpec, may_go_to
from pbxhub.webhooks.gallery import unfilled
from pbxhub.webhooks.spec import FieldError, SpecError, WebhookSpec
from pbxhub.webhooks.spec_json import wrong_at

MOST_WEBHOOKS = 2000


class Named(Protocol):
    """A connection of the project, or of a file."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> ConnectionSpec: ...


@dataclass(frozen=True, slots=True)
class Draft:
    """A checked webhook. secret, tls_key of its certificate, set_name: None keeps the stored one."""

    name: str
    stage: str
    enabled: bool
    spec: WebhookSpec
    secret: str | None = field(default=None, repr=False)
    tls_key: str | None = field(default=None, repr=False)
    set_name: str | None = None


def read_draft(
    session: Session,
    access: Access,
    data: Mapping[str, Any],
    webhook: Webhook | None,
    source: Webhook | None = None,
    added_with: Mapping[str, WebhookSpec] = MappingProxyType({}),
) -> Draft:
    """The draft behind name, stage, enabled, set, spec, secret and tls_key. Raises SpecError with everything that is
    wrong.

    webhook: the one that is changed. source: the one that a new one is copied from. A secret of either is kept where
    the draft gives none, but for the host it was given for only. added_with: webhooks that this request adds together
    with it, by name; a chain may lead to them.
    """
    lock_project(session, access.project.id)  # else two that save at once both find the name free, or the last place
    spec, errors = _read_all(session, access, data, webhook, source, added_with)
    if errors:
        raise SpecError(errors)
    name, stage, enabled = _own(data)
    return Draft(name, stage, enabled, spec, given_secret(data), given_key(data), _set_name(data))


def draft_errors(
    session: Session, access: Access, data: Mapping[str, Any], webhook: Webhook | None, source: Webhook | None = None
) -> list[FieldError]:
    """What read_draft would refuse at this moment."""
    return _read_all(session, access, data, webhook, source)[1]


def _own(data: Mapping[str, Any]) -> tuple[str, str, bool]:
    return str(data.get("name") or "").strip(), str(data.get("stage") or ""), bool(data.get("enabled", True))


def _set_name(data: Mapping[str, Any]) -> str | None:
    return None if data.get("set") is None else str(data["set"]).strip()


def _read_all(
    session: Session,
    access: Access,
    data: Mapping[str, Any],
    webhook: Webhook | None,
    source: Webhook | None,
    added_with: Mapping[str, WebhookSpec] = MappingProxyType({}),
) -> tuple[WebhookSpec, list[FieldError]]:
    name, stage, enabled = _own(data)
    spec, errors = _read_spec(access, data, webhook, source, enabled)
    errors = [
        *check_name(name, stage),
        *_taken(session, access, name, webhook),
        *check_set_name(_set_name(data) or ""),
        *check_stage(stage),
        *check_wait(stage, spec),
        *errors,
    ]
    if webhook is None and _count(session, access) >= MOST_WEBHOOKS:
        errors.append(wrong_at("", "The project has %(n)s events, as many as it may have.", n=MOST_WEBHOOKS))
    errors = errors or _chain_errors(session, access, name, spec, webhook, added_with)
    errors = errors or connection_errors(spec, connections_of(session, access.project.id))
    return spec, errors or address_errors(access, spec)


def address_errors(access: Access, spec: WebhookSpec) -> list[FieldError]:
    """Whether requests of this project may be sent to the address of the webhook."""
    refused = access.hub.guard_of(access.project).check_url(spec.request.url)
    return [FieldError("url", refused.sentence)] if refused else []


def connection_errors(spec: WebhookSpec, connections: Collection[Named]) -> list[FieldError]:
    """Whether the connection that the webhook names exists and may be used for its address."""
    auth, url = spec.request.auth, spec.request.url
    if auth.kind != "connection":
        return []
    found = next((each for each in connections if each.name == auth.name), None)
    if found is None:
        return [wrong_at("auth.name", "%(name)s is not a connection of this project.", name=auth.name)]
    if not may_go_to(found.spec, url):
        no = say("The connection %(name)s may not be used for %(host)s.", name=auth.name, host=origin_of(url))
        return [wrong_at("auth.name", "%(no)s Add the host to the connection.", no=no)]
    return []


def live_webhooks(session: Session, access: Access) -> list[Webhook]:
    """The webhooks of the project in the order of the table: the locked one first."""
    return list(
        session.scalars(
            select(Webhook)
            .where(*live(access))
            .order_by(Webhook.locked.desc(), Webhook.position, Webhook.id)
            .limit(MOST_WEBHOOKS)
        )
    )


def _read_spec(
    access: Access, data: Mapping[str, Any], webhook: Webhook | None, source: Webhook | None, enabled: bool
) -> tuple[WebhookSpec, list[FieldError]]:
    try:
        spec = check_spec(data.get("spec") or {})
    except SpecError as error:
        return WebhookSpec(), list(error.errors)
    kept = webhook or source
    errors = secret_errors(spec, given_secret(data), kept)
    errors += key_errors(access.hub.vault, spec, given_key(data), kept) + signing_errors(spec, webhook)
    return spec, errors + (unfilled(spec) if enabled else [])


def _taken(session: Session, access: Access, name: str, webhook: Webhook | None) -> list[FieldError]:
    same = select(Webhook.id).where(*live(access), Webhook.name == name)
    found = session.scalar(same.where(Webhook.id != webhook.id) if webhook else same)
    return [] if found is None else [wrong_at("name", "Another event of this project has this name.")]


def _count(session: Session, access: Access) -> int:
    return session.scalar(select(func.count()).where(*live(access))) or 0


def live(access: Access) -> tuple[Any, ...]:
    return (Webhook.project_id == access.project.id, Webhook.deleted_on.is_(None), Webhook.kind == "event")


def _chain_errors(
    session: Session,
    access: Access,
    name: str,
    spec: WebhookSpec,
    webhook: Webhook | None,
    added_with: Mapping[str, WebhookSpec],
) -> list[FieldError]:
    if not (spec.on_success or spec.on_failure or spec.wait_for):
        return []
    renamed = {webhook.name: name} if webhook else {}  # the others will name it by its new name
    others = [row for row in live_webhooks(session, access) if webhook is None or row.id != webhook.id]
    specs = {row.name: with_names(row.spec, renamed) for row in others}
    return check_chains({**specs, **added_with, name: spec}).get(name, [])
