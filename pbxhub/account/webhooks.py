"""The webhooks of a project: found, added, changed, switched, paused, ordered, deleted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import Action, differences, note
from pbxhub.account.crm_calls import bring_address_back, remove_address_with_set
from pbxhub.account.refusals import NotAllowedError, NotFoundError
from pbxhub.account.secret_visibility import visible_spec
from pbxhub.account.webhook_drafts import MOST_WEBHOOKS, Draft, connection_errors, live_webhooks, read_draft
from pbxhub.account.webhook_fields import all_fields, changed_fields, flatten, logged_fields, own_fields
from pbxhub.account.webhook_secrets import drop_moved_secrets, key_errors, secret_errors, store_secrets
from pbxhub.calls.stages import JSON
from pbxhub.delivery.outbox import cancel_pending, pause, resume
from pbxhub.store.accounts import User, lock_project
from pbxhub.store.connections import connection_named, connections_of
from pbxhub.store.webhooks import Webhook, WebhookVersion, remember_version, touch_webhooks
from pbxhub.translatable import say
from pbxhub.webhooks.chains import check_chains, with_names
from pbxhub.webhooks.gallery import unfilled
from pbxhub.webhooks.spec import FieldError, SpecError, dump_spec

UNDONE = timedelta(days=1)  # how long a deleted webhook can be brought back


def webhook_of(session: Session, access: Access, webhook_id: int) -> Webhook:
    """A webhook of the project that is not deleted. Raises NotFoundError for anything else."""
    webhook = session.get(Webhook, webhook_id)
    if webhook is None or webhook.project_id != access.project.id or webhook.deleted_on or webhook.kind != "event":
        raise NotFoundError
    return webhook


def editable(session: Session, access: Access, webhook_id: int) -> Webhook:
    """The same. Raises NotAllowedError for the locked one: it can be switched and set up, nothing else."""
    webhook = webhook_of(session, access, webhook_id)
    if webhook.locked:
        raise NotAllowedError(say("The event of Google Analytics can only be set up and switched on or off."))
    return webhook


def create(session: Session, access: Access, draft: Draft, source: Webhook | None = None) -> Webhook:
    """A new webhook at the end of the table; a copy takes over the secret and the signing keys of its source."""
    last = session.scalar(select(func.max(Webhook.position)).where(Webhook.project_id == access.project.id)) or 0
    webhook = source.copy() if source else Webhook(project_id=access.project.id)
    webhook.created_on, webhook.position = access.now, last + 1
    _write(session, access, webhook, draft)
    session.add(webhook)
    session.flush()
    _remember(session, access, webhook)
    note(session, access, "webhook added", webhook.name, {}, logged_fields(webhook))
    return webhook


def change(session: Session, access: Access, webhook: Webhook, draft: Draft, what: Action = "webhook changed") -> None:
    """Another revision of a webhook. What is queued is sent as it was rendered; of a webhook that is switched off it is
    cancelled."""
    before, raw, was_on, was_in = logged_fields(webhook), all_fields(webhook), webhook.enabled, webhook.set_name
    if draft.name != webhook.name:
        _rename_in_chains(session, access, webhook.name, draft.name)
    _write(session, access, webhook, draft)
    webhook.revision += 1
    _remember(session, access, webhook)
    if was_on and not webhook.enabled:
        cancel_pending(session, webhook.id, access.now)
    if webhook.set_name != was_in:
        remove_address_with_set(session, access, was_in)
    note(session, access, what, webhook.name, before, changed_fields(webhook, before, raw))


def switch(session: Session, access: Access, webhook: Webhook, on: bool) -> None:
    """On or off, as its own line in the audit log. Raises SpecError with what it lacks to be switched on."""
    if on and (lacking := incomplete(session, access, webhook)):
        raise SpecError(lacking)
    if on != webhook.enabled:
        switched = Draft(webhook.name, webhook.stage, on, webhook.spec)
        change(session, access, webhook, switched, "webhook switched on" if on else "webhook switched off")


def incomplete(session: Session, access: Access, webhook: Webhook) -> list[FieldError]:
    """What a webhook lacks to be switched on: a blank of its ready-made form, or a secret that an import did not
    bring."""
    spec = webhook.spec
    secrets = secret_errors(spec, None, webhook) + key_errors(access.hub.vault, spec, None, webhook)
    specs = {row.name: row.spec for row in live_webhooks(session, access)}
    chain = check_chains(specs).get(webhook.name, [])
    return unfilled(spec) + secrets + chain + connection_errors(spec, connections_of(session, access.project.id))


def copy(session: Session, access: Access, source: Webhook, name: str, stage: str) -> Webhook:
    """A copy, switched off. name, stage: "" for those of the source. Raises SpecError as read_draft."""
    wanted = {
        "name": name or f"{source.name} (copy)"[:200],
        "stage": stage or source.stage,
        "enabled": False,
        "spec": dump_spec(source.spec),
    }
    return create(session, access, read_draft(session, access, wanted, None, source), source)


def hold(session: Session, access: Access, webhook: Webhook) -> None:
    """Pauses a webhook: deliveries are held until release()."""
    pause(session, webhook.id, f"paused by {access.user.name or access.user.email}", access.now)
    session.flush()  # a refresh of the row would forget what is not written yet
    note(session, access, "webhook paused", webhook.name)


def release(session: Session, access: Access, webhook: Webhook) -> None:
    """Resumes a webhook and sends what was held."""
    resume(access.hub.context, session, webhook.id)
    session.refresh(webhook)
    note(session, access, "webhook resumed", webhook.name)


def remove(session: Session, access: Access, webhook: Webhook) -> None:
    """Deletes a webhook and its secrets: pending deliveries are cancelled, sent ones stay in the history. With the last
    one of a set goes the address for calls from the CRM that was made with the set."""
    lock_project(session, access.project.id)
    webhook.enabled, webhook.deleted_on = False, access.now
    webhook.secret_sealed = webhook.tls_key_sealed = webhook.signing_sealed = ""
    touch_webhooks(session, access.project.id)
    cancel_pending(session, webhook.id, access.now)
    note(session, access, "webhook deleted", webhook.name, logged_fields(webhook))
    remove_address_with_set(session, access, webhook.set_name)


def bring_back(session: Session, access: Access, webhook_id: int) -> Webhook:
    """Undoes remove() of the last day: on or off as it was, but off when it had secrets, which are gone. What was
    cancelled stays cancelled. Raises NotFoundError, also later, or SpecError as put_back_deleted."""
    lock_project(session, access.project.id)
    webhook = session.get(Webhook, webhook_id)
    is_ours = webhook and webhook.project_id == access.project.id and webhook.kind == "event"
    if not webhook or not is_ours or not webhook.deleted_on or webhook.deleted_on < access.now - UNDONE:
        raise NotFoundError
    put_back_deleted(session, access, [webhook])
    return webhook


def put_back_deleted(session: Session, access: Access, rows: Sequence[Webhook]) -> None:
    """Deleted webhooks are there again. First all of them, then each is switched on: one may lead to another.
    Needs lock_project(). Raises SpecError when a name has been taken since, or the project has no room for them."""
    if errors := _no_place(live_webhooks(session, access), rows):
        raise SpecError(errors)
    for set_name, deleted_on in {(row.set_name, row.deleted_on) for row in rows}:
        bring_address_back(session, access, set_name, deleted_on)
    for row in rows:
        row.deleted_on = None
        auth = row.spec.request.auth
        used = connection_named(session, access.project.id, auth.name) if auth.kind == "connection" else None
        row.connection_id = used.id if used else None
    session.flush()
    for row in rows:
        last = session.get(WebhookVersion, (row.id, row.revision))
        row.enabled = bool(last and last.enabled) and not incomplete(session, access, row)
        note(session, access, "webhook brought back", row.name, {}, logged_fields(row))
    touch_webhooks(session, access.project.id)


def _no_place(live: Sequence[Webhook], rows: Sequence[Webhook]) -> list[FieldError]:
    taken = {row.name for row in live}
    why = say("Another event of this project has this name. Rename or delete that one first.")
    errors = [FieldError(row.name, why) for row in rows if row.name in taken]
    if len(live) + len(rows) > MOST_WEBHOOKS:
        most = say("The project may have %(n)s events at most.", n=MOST_WEBHOOKS)
        errors.append(FieldError(rows[0].name, most))
    return errors


def reorder(session: Session, access: Access, wanted: Iterable[int]) -> None:
    """Sets the order of sending: these first, then the others in their present order. Unknown ids are skipped."""
    rows = {row.id: row for row in live_webhooks(session, access)}
    ranked = [item for item in dict.fromkeys((*wanted, *rows)) if item in rows]
    for position, webhook_id in enumerate(ranked, 1):
        rows[webhook_id].position = position
    touch_webhooks(session, access.project.id)
    note(session, access, "webhooks reordered", f"{len(ranked)}")


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision with its author's e-mail (None: a program, or a user that is gone) and what it changed:
    field -> [before, after], as the reader may see it; of a secret only that it has changed."""

    version: WebhookVersion
    author: str | None
    changes: dict[str, list[JSON]]


def revisions(session: Session, access: Access, webhook: Webhook, before: int, limit: int) -> list[Revision]:
    """The revisions below that number, newest first."""
    rows = session.execute(
        select(WebhookVersion, User.email)
        .outerjoin(User, User.id == WebhookVersion.author_id)
        .where(WebhookVersion.webhook_id == webhook.id, WebhookVersion.revision < before)
        .order_by(WebhookVersion.revision.desc())
        .limit(limit + 1)
    ).all()
    older: Sequence[WebhookVersion | None] = [*(row[0] for row in rows[1:]), None]
    found = [Revision(row[0], row[1], _changes(access, row[0], old)) for row, old in zip(rows, older, strict=False)]
    return found[:limit]


def restore(session: Session, access: Access, webhook: Webhook, revision: int) -> None:
    """Makes an earlier revision the current one, as a new revision: checked like any other, on or off as it is now.
    Raises NotFoundError, or SpecError as read_draft."""
    version = session.get(WebhookVersion, (webhook.id, revision))
    if version is None:
        raise NotFoundError
    wanted = {**own_fields(version), "enabled": webhook.enabled, "spec": dump_spec(version.spec)}
    change(session, access, webhook, read_draft(session, access, wanted, webhook))


def _write(session: Session, access: Access, webhook: Webhook, draft: Draft) -> None:
    drop_moved_secrets(webhook, draft.spec)
    webhook.name, webhook.stage, webhook.enabled, webhook.spec = draft.name, draft.stage, draft.enabled, draft.spec
    if draft.set_name is not None:
        webhook.set_name = draft.set_name
    store_secrets(access.hub.vault, webhook, draft.secret, draft.tls_key)
    auth = draft.spec.request.auth
    used = connection_named(session, access.project.id, auth.name) if auth.kind == "connection" else None
    webhook.connection_id = used.id if used else None


def _rename_in_chains(session: Session, access: Access, old: str, new: str) -> None:
    """The webhooks that name this one call it by its new name, each as a new revision."""
    for row in live_webhooks(session, access):
        if (spec := with_names(row.spec, {old: new})) != row.spec:
            before = logged_fields(row)
            row.spec = spec
            row.revision += 1
            _remember(session, access, row)
            note(session, access, "webhook changed", row.name, before, logged_fields(row))


def _remember(session: Session, access: Access, webhook: Webhook) -> None:
    remember_version(session, webhook, access.user.id, access.now)
    touch_webhooks(session, access.project.id)


def _changes(access: Access, newer: WebhookVersion, older: WebhookVersion | None) -> dict[str, list[JSON]]:
    if older is None:
        return {}
    before, after = (_flat(row, visible_spec(access, row.spec)) for row in (older, newer))
    changed = differences(_flat(older, dump_spec(older.spec)), _flat(newer, dump_spec(newer.spec)))
    return {path: [before.get(path), after.get(path)] for path in changed}


def _flat(version: WebhookVersion, spec: JSON) -> dict[str, JSON]:
    return {**own_fields(version), **flatten(spec)}
