"""Saving webhooks: what the editor and an import send is read, checked as a whole, written with its history."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flask import abort
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import Action, note
from pbxhub.account.visible import redacted_spec
from pbxhub.calls.stages import JSON
from pbxhub.delivery.outbox import cancel_pending, pause, resume
from pbxhub.sending.webhook_signatures import SigningKeys, new_key, open_keys, rotate, seal_keys
from pbxhub.store.accounts import lock_project
from pbxhub.store.webhooks import Webhook, WebhookVersion, remember_version, touch_webhooks
from pbxhub.vault import VaultError
from pbxhub.web.language import _
from pbxhub.webhooks.auth import keeps_secret, origin_of, secret_error
from pbxhub.webhooks.certificates import bare_key, key_error
from pbxhub.webhooks.chains import check_chains
from pbxhub.webhooks.check import check_spec, check_stage
from pbxhub.webhooks.gallery import Item, default_event, fill, unfilled
from pbxhub.webhooks.import_export import Change, Exported, plan_import
from pbxhub.webhooks.spec import FieldError, SpecError, WebhookSpec, dump_spec
from pbxhub.wsgi.current import hub, now

MOST_WEBHOOKS = 2000


@dataclass(frozen=True, slots=True)
class Draft:
    """A webhook as somebody wants it. secret, and tls_key of its certificate: None keeps the one that is there."""

    name: str
    stage: str
    enabled: bool
    spec: WebhookSpec
    secret: str | None = field(default=None, repr=False)
    tls_key: str | None = field(default=None, repr=False)


def read_draft(
    session: Session, access: Access, data: Mapping[str, Any], webhook: Webhook | None, source: Webhook | None = None
) -> Draft:
    """The draft behind what a form or a file sends. Raises SpecError with everything that is wrong.

    webhook: the one that is changed. source: the one that a new one is copied from. What is secret of either stays
    where the draft does not give it, but for the host it was given for only.
    """
    lock_project(session, access.project.id)  # no two have one name, nor are there too many, however many save at once
    errors = list[FieldError]()
    name, stage = str(data.get("name") or "").strip(), str(data.get("stage") or "")
    if not 1 <= len(name) <= 200:
        errors.append(FieldError("name", _("Give the event a name of up to 200 letters.")))
    elif _taken(session, access, name, webhook):
        errors.append(FieldError("name", _("Another event of this project has this name.")))
    errors += check_stage(stage)
    spec, secret, tls_key = WebhookSpec(), given_secret(data), given_key(data)
    try:
        spec = check_spec(data.get("spec") or {})
    except SpecError as error:
        errors += error.errors
    else:
        errors += secret_errors(spec, secret, webhook or source) + key_errors(spec, tls_key, webhook or source)
        errors += _signing_errors(spec, webhook)
        errors += unfilled(spec) if data.get("enabled", True) else []
    if webhook is None and _count(session, access) >= MOST_WEBHOOKS:
        errors.append(FieldError("", _("The project has %(n)s events, as many as it may have.", n=MOST_WEBHOOKS)))
    if not errors:
        errors += _chain_errors(session, access, name, spec, webhook)
    if not errors and (refused := hub().guard_of(access.project).check_url(spec.request.url)):
        errors.append(FieldError("url", refused.sentence))
    if errors:
        raise SpecError(errors)
    return Draft(name, stage, bool(data.get("enabled", True)), spec, secret, tls_key)


def create(session: Session, access: Access, draft: Draft, source: Webhook | None = None) -> Webhook:
    """A new webhook at the end of the table; a copy takes over the secret and the signing keys of its source."""
    last = session.scalar(select(func.max(Webhook.position)).where(Webhook.project_id == access.project.id)) or 0
    webhook = source.copy() if source else Webhook(project_id=access.project.id)
    webhook.created_on, webhook.position = now(), last + 1
    _write(webhook, draft)
    session.add(webhook)
    session.flush()
    _remember(session, access, webhook)
    note(session, access, "webhook added", webhook.name, {}, _logged(webhook))
    return webhook


def change(session: Session, access: Access, webhook: Webhook, draft: Draft, what: Action = "webhook changed") -> None:
    """Another revision of a webhook. What is queued already goes out as it was rendered; what waits of a webhook that
    is switched off is cancelled, whichever door switches it."""
    before, raw, was_on = _logged(webhook), shown(webhook), webhook.enabled
    _write(webhook, draft)
    webhook.revision += 1
    _remember(session, access, webhook)
    if was_on and not webhook.enabled:
        cancel_pending(session, webhook.id, now())
    note(session, access, what, webhook.name, before, _changed(webhook, before, raw))


def switch(session: Session, access: Access, webhook: Webhook, on: bool) -> None:
    """On or off, as its own line in the audit log. Look at incomplete() before switching on."""
    if on != webhook.enabled:
        switched = Draft(webhook.name, webhook.stage, on, webhook.spec)
        change(session, access, webhook, switched, "webhook switched on" if on else "webhook switched off")


def hold(session: Session, access: Access, webhook: Webhook) -> None:
    """Stops sending; what is due waits until release()."""
    pause(session, webhook.id, f"paused by {access.user.name or access.user.email}", now())
    session.flush()  # a refresh of the row would forget what is not written yet
    note(session, access, "webhook paused", webhook.name)


def release(session: Session, access: Access, webhook: Webhook) -> None:
    """Sends again, what has waited too."""
    resume(hub().context, session, webhook.id)
    session.refresh(webhook)
    note(session, access, "webhook resumed", webhook.name)


def add_ready(session: Session, access: Access, item: Item, answers: Mapping[str, str], secret: str) -> list[Webhook]:
    """The webhooks of a ready-made integration, switched off, under names that are free. Raises SpecError."""
    lock_project(session, access.project.id)  # or another one takes the name that is free now
    taken = {row.name for row in live_webhooks(session, access)}
    added = []
    for ready in fill(item, answers):
        name, count = ready.name, 2
        while name in taken:
            name, count = f"{ready.name} ({count})", count + 1
        taken.add(name)
        wanted = {"name": name, "stage": ready.stage, "enabled": False, "spec": dump_spec(ready.spec)}
        given = {"secret": secret} if ready.spec.request.auth.kind != "none" else {}
        added.append(create(session, access, read_draft(session, access, {**wanted, **given}, None)))
    return added


def restore_version(session: Session, access: Access, webhook: Webhook, version: WebhookVersion) -> None:
    """Makes an earlier revision the current one, as a new revision: checked like any other, on or off as it is now."""
    wanted = {**own_fields(version), "enabled": webhook.enabled, "spec": dump_spec(version.spec)}
    change(session, access, webhook, read_draft(session, access, wanted, webhook))


def live_webhooks(session: Session, access: Access) -> list[Webhook]:
    """The webhooks of the project in the order of the table: the locked one first."""
    return list(
        session.scalars(
            select(Webhook)
            .where(Webhook.project_id == access.project.id, Webhook.deleted_on.is_(None), Webhook.kind == "event")
            .order_by(Webhook.locked.desc(), Webhook.position, Webhook.id)
            .limit(MOST_WEBHOOKS)
        )
    )


def webhook_of(session: Session, access: Access, webhook_id: int) -> Webhook:
    """A webhook of the project that is not deleted; 404 for anything else."""
    webhook = session.get(Webhook, webhook_id)
    if webhook is None or webhook.project_id != access.project.id or webhook.deleted_on or webhook.kind != "event":
        abort(404)
    return webhook


def editable(session: Session, access: Access, webhook_id: int) -> Webhook:
    """The same, but for the locked one: it can be switched and set up, nothing else (403)."""
    webhook = webhook_of(session, access, webhook_id)
    if webhook.locked:
        abort(403)
    return webhook


def remove(session: Session, access: Access, webhook: Webhook) -> None:
    """Deletes a webhook: what waits is cancelled, what was sent stays in the history."""
    webhook.enabled, webhook.deleted_on = False, now()
    touch_webhooks(session, access.project.id)
    cancel_pending(session, webhook.id, now())
    note(session, access, "webhook deleted", webhook.name, _logged(webhook))


def reorder(session: Session, access: Access, wanted: Iterable[int]) -> None:
    """The order of starting: these first, the others after them as they were. Ids that are none are left out."""
    rows = {row.id: row for row in live_webhooks(session, access)}
    ranked = [item for item in dict.fromkeys((*wanted, *rows)) if item in rows]
    for position, webhook_id in enumerate(ranked, 1):
        rows[webhook_id].position = position
    touch_webhooks(session, access.project.id)
    note(session, access, "webhooks reordered", f"{len(ranked)}")


def make_signing_key(session: Session, access: Access, webhook: Webhook, *, rotating: bool) -> str:
    """A new signing key, whsec_…, which nobody can read again. rotating: the one before signs for a day more."""
    keys = open_keys(hub().vault, webhook.signing_sealed) if rotating else None
    fresh = rotate(keys, now()) if keys else SigningKeys(new_key())
    webhook.signing_sealed = seal_keys(hub().vault, fresh)
    touch_webhooks(session, access.project.id)
    note(session, access, "signing key made", webhook.name)
    return fresh.current


def remove_signing_key(session: Session, access: Access, webhook: Webhook) -> None:
    """What leaves from now on is not signed."""
    webhook.signing_sealed = ""
    touch_webhooks(session, access.project.id)
    note(session, access, "signing key removed", webhook.name)


def set_up_default(session: Session, access: Access, webhook: Webhook, measurement_id: str, api_secret: str) -> None:
    """The two things Google Analytics needs to know; with them the locked event is on. 404 for any other event."""
    if not webhook.locked:
        abort(404)
    spec = fill(default_event(), {"measurement_id": measurement_id})[0].spec
    change(
        session, access, webhook, Draft(webhook.name, webhook.stage, True, spec, api_secret), "Google Analytics set up"
    )


def exported(webhook: Webhook) -> Exported:
    """A webhook as a line of a file."""
    return Exported(webhook.name, webhook.stage, webhook.spec, webhook.enabled)


def plan(session: Session, access: Access, data: Any) -> tuple[Change, ...]:
    """What importing the file would change. Raises SpecError with everything that is wrong with it."""
    lock_project(session, access.project.id)  # what is carried out must be what was planned
    there = live_webhooks(session, access)
    rows = {row.name: row for row in there if not row.locked}
    locked = {row.name for row in there if row.locked}
    changes = plan_import(data, {name: exported(row) for name, row in rows.items()}, locked)
    if errors := _import_errors(access, changes, len(there)):
        raise SpecError(errors)
    return tuple(replace(item, needs_secret=True) if _loses_keys(rows, item) else item for item in changes)


def _import_errors(access: Access, changes: Iterable[Change], there: int) -> list[FieldError]:
    """What the hub itself does not allow of a file that is right."""
    guard, errors = hub().guard_of(access.project), list[FieldError]()
    for item in changes:
        path, spec = f"webhooks.{item.webhook.name}", item.webhook.spec
        if refused := guard.check_url(spec.request.url):
            errors.append(FieldError(f"{path}.url", refused.sentence))
        there += item.kind == "new"
    if there > MOST_WEBHOOKS:
        errors.append(FieldError("webhooks", _("The project may have %(n)s events at most.", n=MOST_WEBHOOKS)))
    return errors


def _loses_keys(rows: Mapping[str, Webhook], item: Change) -> bool:
    there = rows.get(item.webhook.name)
    return (
        there is not None
        and bool(there.signing_sealed or there.tls_key_sealed)
        and not same_host(there, item.webhook.spec)
    )


def carry_out(session: Session, access: Access, changes: Iterable[Change]) -> int:
    """Writes a plan; a webhook that lacks its secret comes switched off. Returns how many were written."""
    existing = {row.name: row for row in live_webhooks(session, access) if not row.locked}
    done = 0
    for item in changes:
        wanted, there = item.webhook, existing.get(item.webhook.name)
        if item.kind == "same":
            continue
        draft = Draft(wanted.name, wanted.stage, wanted.enabled and not item.needs_secret, wanted.spec)
        if there is None:
            create(session, access, draft)
        else:
            change(session, access, there, draft)
        done += 1
    return done


def shown(webhook: Webhook) -> dict[str, JSON]:
    """A webhook as flat fields, for the differences that an editor sees; no sealed secret is in a spec."""
    return {**own_fields(webhook), **flatten(dump_spec(webhook.spec))}


def _logged(webhook: Webhook) -> dict[str, JSON]:
    """The same for the audit log, which keeps what it is given: without the secrets in URLs, headers and bodies."""
    return {**own_fields(webhook), **flatten(redacted_spec(webhook.spec))}


def _changed(webhook: Webhook, before: Mapping[str, JSON], raw: Mapping[str, JSON]) -> dict[str, JSON]:
    """What it is now. Where nothing but a secret is different, that is said: both would look alike."""
    after, now_raw = _logged(webhook), shown(webhook)
    hidden = [name for name in after if after[name] == before.get(name) and now_raw.get(name) != raw.get(name)]
    return {**after, **{name: f"{after[name]} (another secret)" for name in hidden}}


def own_fields(webhook: Webhook | WebhookVersion) -> dict[str, JSON]:
    """What a webhook has beside its spec."""
    return {"name": webhook.name, "stage": webhook.stage, "enabled": webhook.enabled}


def flatten(data: Any, path: str = "") -> dict[str, JSON]:
    """Nested JSON as path -> leaf: {"request.url": "https://…", "request.headers[0].name": "X-Key"}."""
    if isinstance(data, dict):
        pairs = [(f"{path}.{name}" if path else name, item) for name, item in data.items()]
    elif isinstance(data, list):
        pairs = [(f"{path}[{index}]", item) for index, item in enumerate(data)]
    else:
        return {path: data}
    flat: dict[str, JSON] = {}
    for name, item in pairs:
        flat |= flatten(item, name)
    return flat


def _write(webhook: Webhook, draft: Draft) -> None:
    """Whoever writes a webhook: what is secret of it never follows it to another host."""
    if webhook.spec is not None and not same_host(webhook, draft.spec):
        webhook.signing_sealed = webhook.tls_key_sealed = ""
    if webhook.spec is not None and not keeps_secret(webhook.spec.request, draft.spec.request):
        webhook.secret_sealed = ""
    webhook.name, webhook.stage, webhook.enabled, webhook.spec = draft.name, draft.stage, draft.enabled, draft.spec
    if draft.spec.request.auth.kind == "none":
        webhook.secret_sealed = ""
    elif draft.secret is not None:
        webhook.secret_sealed = hub().vault.seal(draft.secret)
    certificate = draft.spec.request.tls_certificate
    if draft.tls_key is not None:
        webhook.tls_key_sealed = hub().vault.seal(bare_key(draft.tls_key))
    elif not certificate or kept_key_error(certificate, webhook.tls_key_sealed):
        webhook.tls_key_sealed = ""


def _remember(session: Session, access: Access, webhook: Webhook) -> None:
    remember_version(session, webhook, access.user.id, now())
    touch_webhooks(session, access.project.id)


def _count(session: Session, access: Access) -> int:
    live = (Webhook.project_id == access.project.id, Webhook.deleted_on.is_(None), Webhook.kind == "event")
    return session.scalar(select(func.count()).where(*live)) or 0


def _taken(session: Session, access: Access, name: str, webhook: Webhook | None) -> bool:
    same = select(Webhook.id).where(
        Webhook.project_id == access.project.id,
        Webhook.name == name,
        Webhook.deleted_on.is_(None),
        Webhook.kind == "event",
    )
    return session.scalar(same.where(Webhook.id != webhook.id) if webhook else same) is not None


def given_secret(data: Mapping[str, Any]) -> str | None:
    """The secret of the authentication that a form or a program gives; None when it gives none."""
    secret = data.get("secret")
    return secret if isinstance(secret, str) and secret else None


def given_key(data: Mapping[str, Any]) -> str | None:
    """The private key of the certificate that a form or a program gives; None when it gives none."""
    key = data.get("tls_key")
    return key if isinstance(key, str) and key.strip() else None


def secret_errors(spec: WebhookSpec, secret: str | None, kept: Webhook | None) -> list[FieldError]:
    """Why the request cannot be authenticated. kept: the webhook whose secret stays when none is given."""
    if spec.request.auth.kind == "none":
        return []
    if secret is not None:
        message = secret_error(spec.request.auth, secret)
        return [FieldError("auth.secret", message)] if message else []
    if kept is None or not kept.secret_sealed:
        return [FieldError("auth.secret", _("Give the secret; it is encrypted and not shown again."))]
    return moved_errors(spec, kept)


def incomplete(webhook: Webhook) -> list[FieldError]:
    """What it lacks to be switched on: a blank of its ready-made form, or what was secret and did not come with an
    import."""
    spec = webhook.spec
    return [*unfilled(spec), *secret_errors(spec, None, webhook), *key_errors(spec, None, webhook)]


def moved_errors(spec: WebhookSpec, kept: Webhook) -> list[FieldError]:
    """Whether the secret of the authentication that is kept must be given again."""
    if not kept.secret_sealed or spec.request.auth.kind == "none" or keeps_secret(kept.spec.request, spec.request):
        return []
    if same_host(kept, spec):
        return [FieldError("auth.secret", _("Give the secret again: it was given to be sent in another way."))]
    hosts = {"old": origin_of(kept.spec.request.url), "new": origin_of(spec.request.url)}
    return [
        FieldError(
            "auth.secret", _("Give the secret again: it was given for %(old)s and would go to %(new)s.", **hosts)
        )
    ]


def key_errors(spec: WebhookSpec, key: str | None, kept: Webhook | None) -> list[FieldError]:
    """Why the certificate cannot be shown. kept: the webhook whose private key stays when none is given."""
    certificate = spec.request.tls_certificate
    if not certificate:
        return [FieldError("tls_key", _("Give the certificate of this key, too."))] if key else []
    if key is not None:
        message = key_error(certificate, key)
    elif kept is None or not kept.tls_key_sealed:
        message = _("Give the private key of the certificate; it is encrypted and not shown again.")
    elif not same_host(kept, spec):
        hosts = {"old": origin_of(kept.spec.request.url), "new": origin_of(spec.request.url)}
        message = _("Give the private key again: it was given for %(old)s and would go to %(new)s.", **hosts)
    elif kept_key_error(certificate, kept.tls_key_sealed):
        message = _("Give the private key of this certificate: the one that was given belongs to another.")
    else:
        message = ""
    return [FieldError("tls_key", message)] if message else []


def kept_key_error(certificate: str, sealed: str) -> str:
    """Why a sealed key is of no use for a certificate. One that cannot be opened now stays until it can."""
    try:
        return key_error(certificate, hub().vault.open(sealed)) if sealed else "there is none"
    except VaultError:
        return ""


def _signing_errors(spec: WebhookSpec, webhook: Webhook | None) -> list[FieldError]:
    """The signing key cannot be typed again. A copy for another host simply begins without one."""
    if webhook is None or not webhook.signing_sealed or same_host(webhook, spec):
        return []
    old = origin_of(webhook.spec.request.url)
    message = _("The signing key was made for %(old)s; choose “Do not sign”, save, and make a new key.", old=old)
    return [FieldError("signing", message)]


def same_host(webhook: Webhook, spec: WebhookSpec) -> bool:
    """Whether what is secret of the webhook may go where the spec sends: the same scheme, host and port."""
    return origin_of(webhook.spec.request.url) == origin_of(spec.request.url)


def _chain_errors(
    session: Session, access: Access, name: str, spec: WebhookSpec, webhook: Webhook | None
) -> list[FieldError]:
    if not spec.on_success and not spec.on_failure:
        return []
    others = [row for row in live_webhooks(session, access) if webhook is None or row.id != webhook.id]
    return check_chains({**{row.name: row.spec for row in others}, name: spec}).get(name, [])
