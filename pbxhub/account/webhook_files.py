"""The webhooks of a project as a file: written, and read again here or in another project."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.connections import MOST_CONNECTIONS, import_connection
from pbxhub.account.resthook_subscribers import count_subscribers
from pbxhub.account.secret_visibility import sees_secrets, visible_spec
from pbxhub.account.webhook_drafts import (
    MOST_WEBHOOKS,
    Draft,
    Named,
    address_errors,
    connection_errors,
    live_webhooks,
)
from pbxhub.account.webhook_secrets import same_host
from pbxhub.account.webhook_sets import set_named
from pbxhub.account.webhooks import change, create
from pbxhub.store.accounts import lock_project
from pbxhub.store.connections import connections_of
from pbxhub.store.webhooks import Webhook
from pbxhub.translatable import say
from pbxhub.webhooks.import_export import (
    Change,
    Exported,
    ExportedConnection,
    connections_in,
    export_webhooks,
    plan_import,
    subscribers_left_out_of,
)
from pbxhub.webhooks.spec import FieldError, SpecError
from pbxhub.webhooks.spec_json import wrong_at


def export_file(session: Session, access: Access, set_name: str = "") -> dict[str, Any]:
    """JSON of every webhook but the locked one, or of those of one set. Raises NotFoundError for a set that does not
    exist. The sealed secrets are not in the file; for those who may not change
    webhooks those in URLs, headers and bodies are redacted, too."""
    rows = set_named(session, access, set_name).webhooks if set_name else _all_but_locked(session, access)
    specs = {row.name: visible_spec(access, row.spec) for row in rows}
    used = {row.connection_id for row in rows} if sees_secrets(access) else set()
    connections = [row for row in connections_of(session, access.project.id) if row.id in used]
    file: dict[str, Any] = export_webhooks(
        map(_exported, rows),
        (ExportedConnection(row.name, row.spec) for row in connections),
        0 if set_name else count_subscribers(session, access),
    )
    return {**file, "webhooks": [{**each, "spec": specs[each["name"]]} for each in file["webhooks"]]}


def _all_but_locked(session: Session, access: Access) -> list[Webhook]:
    return [row for row in live_webhooks(session, access) if not row.locked]


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What importing a file would change. connections: those that the project does not have yet. subscribers_left_out:
    how many programs have to subscribe here anew."""

    webhooks: tuple[Change, ...]
    connections: tuple[ExportedConnection, ...] = ()
    subscribers_left_out: int = 0


def plan(session: Session, access: Access, data: Any) -> ImportPlan:
    """What importing the file would change. Raises SpecError with everything that is wrong with it."""
    lock_project(session, access.project.id)  # what is carried out must be what was planned
    webhooks = live_webhooks(session, access)
    rows = {row.name: row for row in webhooks if not row.locked}
    locked = {row.name for row in webhooks if row.locked}
    changes = plan_import(data, {name: _exported(row) for name, row in rows.items()}, locked)
    own = connections_of(session, access.project.id)
    fresh = [each for each in connections_in(data) if each.name not in {row.name for row in own}]
    errors = _errors(access, changes, len(webhooks)) + _connection_errors(changes, [*own, *fresh])
    if len(own) + len(fresh) > MOST_CONNECTIONS:
        most = say("The project may have %(n)s connections at most.", n=MOST_CONNECTIONS)
        errors.append(FieldError("connections", most))
    if errors:
        raise SpecError(errors)
    unconnected = {each.name for each in fresh}
    planned = (replace(item, needs_secret=True) if _lacks(rows, item, unconnected) else item for item in changes)
    return ImportPlan(tuple(planned), tuple(fresh), subscribers_left_out_of(data))


def carry_out(session: Session, access: Access, planned: ImportPlan) -> int:
    """Writes a plan; a webhook that lacks its secret comes switched off. Returns how many were written."""
    for each in planned.connections:
        import_connection(session, access, each.name, each.spec)
    changes = planned.webhooks
    existing = {row.name: row for row in live_webhooks(session, access) if not row.locked}
    wanted = [item for item in changes if item.kind != "same"]
    for item in wanted:
        new, old = item.webhook, existing.get(item.webhook.name)
        draft = Draft(new.name, new.stage, new.enabled and not item.needs_secret, new.spec, set_name=new.set)
        if old is None:
            create(session, access, draft)
        else:
            change(session, access, old, draft)
    return len(wanted)


def _exported(webhook: Webhook) -> Exported:
    return Exported(webhook.name, webhook.stage, webhook.spec, webhook.enabled, webhook.set_name)


def _errors(access: Access, changes: Iterable[Change], count: int) -> list[FieldError]:
    """What this hub does not allow of a file that is right by itself. count: webhooks of the project before."""
    errors = list[FieldError]()
    for item in changes:
        path = f"webhooks.{item.webhook.name}"
        errors += [FieldError(f"{path}.{one.path}", one.message) for one in address_errors(access, item.webhook.spec)]
        count += item.kind == "new"
    if count > MOST_WEBHOOKS:
        errors.append(wrong_at("webhooks", "The project may have %(n)s events at most.", n=MOST_WEBHOOKS))
    return errors


def _connection_errors(changes: Iterable[Change], connections: Collection[Named]) -> list[FieldError]:
    return [
        FieldError(f"webhooks.{item.webhook.name}.{one.path}", one.message)
        for item in changes
        for one in connection_errors(item.webhook.spec, connections)
    ]


def _lacks(rows: Mapping[str, Webhook], item: Change, unconnected: Collection[str]) -> bool:
    """Whether a secret must be entered before the webhook can be switched on."""
    auth = item.webhook.spec.request.auth
    return _loses_keys(rows, item) or (auth.kind == "connection" and auth.name in unconnected)


def _loses_keys(rows: Mapping[str, Webhook], item: Change) -> bool:
    old = rows.get(item.webhook.name)
    has_keys = old is not None and bool(old.signing_sealed or old.tls_key_sealed)
    return has_keys and old is not None and not same_host(old, item.webhook.spec)
