"""Connections: credentials for another system that the project keeps once. Pages, API and imports change them here.

Secrets and tokens were given for certain hosts. They are never sent to others, however the connection is changed:
whoever adds a host has to enter the secret again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, row_of
from pbxhub.account.audit_log import note
from pbxhub.account.refusals import ConflictError
from pbxhub.account.texts import one_line
from pbxhub.account.webhook_fields import flatten
from pbxhub.calls.stages import JSON
from pbxhub.delivery.live_connections import OAuthTokens, open_tokens, seal_tokens
from pbxhub.redaction import redact_text
from pbxhub.store.accounts import lock_project
from pbxhub.store.connections import FOREVER, NEW, READY, Connection, connections_of, used_by
from pbxhub.store.webhooks import Webhook, remember_version, touch_webhooks
from pbxhub.translatable import say
from pbxhub.vault import VaultError
from pbxhub.webhooks.connection_check import check_connection, secret_problem
from pbxhub.webhooks.connection_spec import ConnectionSpec, dump_connection, load_connection, may_go_to
from pbxhub.webhooks.spec import FieldError, SpecError
from pbxhub.webhooks.spec_json import join, wrong_at

MOST_CONNECTIONS = 100
_LONGEST_SECRET = 20_000  # characters: a private key in PEM
_OLD_HOSTS = say("Enter the secret again: it was entered for other addresses and would be sent to the new ones.")
_NO_SECRET = say("Enter the secret; it is encrypted and never shown again.")
_NO_TOKEN = say("Enter the refresh token; it is encrypted and never shown again.")


@dataclass(frozen=True, slots=True)
class ConnectionDraft:
    """A checked connection. secret, refresh_token: None keeps the stored one."""

    name: str
    spec: ConnectionSpec
    secret: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)


def connection_to_change(session: Session, access: Access, connection_id: int) -> Connection:
    """The connection, locked after its project and its webhooks: in the order of outbox/record.py, which ends a token
    when it has counted the failure of a webhook. Raises NotFoundError."""
    lock_project(session, access.project.id)
    own = select(Webhook.id).where(Webhook.project_id == access.project.id, Webhook.connection_id == connection_id)
    session.execute(own.order_by(Webhook.id).with_for_update(key_share=True))
    return row_of(session, access, Connection, connection_id, changing=True)


def save_connection(session: Session, access: Access, row: Connection | None, data: Mapping[str, Any]) -> Connection:
    """A new connection, or a change. row: of connection_to_change. data: name, spec, secret, refresh_token. Raises
    SpecError with every mistake."""
    lock_project(session, access.project.id)
    draft = _read(session, access, row, data)
    connection = row or Connection(project_id=access.project.id, created_on=access.now, version=0, tokens_sealed="")
    before, former = (_logged(row), row.spec) if row else ({}, None)
    if row and row.name != draft.name:
        _rename(session, access, row, draft.name)
    connection.name, connection.spec = draft.name, draft.spec
    _store(access, connection, draft, former)
    session.add(connection)
    session.flush()
    touch_webhooks(session, access.project.id)
    note(session, access, "connection changed" if row else "connection added", draft.name, before, _logged(connection))
    return connection


def import_connection(session: Session, access: Access, name: str, spec: ConnectionSpec) -> Connection:
    """A connection from a file: it has no secret yet, so its deliveries wait."""
    connection = Connection(project_id=access.project.id, name=name, spec=spec, created_on=access.now)
    session.add(connection)
    session.flush()
    note(session, access, "connection added", name, {}, _logged(connection))
    return connection


def delete_connection(session: Session, access: Access, row: Connection) -> None:
    """Deletes a connection of connection_to_change, with its secrets. Raises ConflictError while webhooks use it."""
    users = used_by(session, [row.id])[row.id]
    if users:
        names = ", ".join(webhook.name for webhook in users[:5])
        raise ConflictError(say("It is used by: %(names)s. Choose another authentication there first.", names=names))
    gone = update(Webhook).where(Webhook.connection_id == row.id).values(connection_id=None)
    session.execute(gone)  # deleted webhooks, kept for their history
    note(session, access, "connection deleted", row.name, _logged(row))
    session.delete(row)


def _read(session: Session, access: Access, row: Connection | None, data: Mapping[str, Any]) -> ConnectionDraft:
    name = one_line(data, "name", 200, needed=True)
    errors = [] if isinstance(name, str) else [FieldError("name", name.text)]
    try:
        spec = load_connection(data.get("spec") or {})
    except SpecError as error:
        raise SpecError(errors + _in_spec(error.errors)) from None
    secret, refresh = _given(data, "secret"), _given(data, "refresh_token")
    wrong = check_connection(spec) or [*_address_errors(access, spec), *_user_errors(session, row, spec)]
    errors += _in_spec(wrong) or _secret_errors(access, row, spec, secret, refresh)
    others = [each for each in connections_of(session, access.project.id) if row is None or each.id != row.id]
    if any(each.name == name for each in others):
        errors.append(wrong_at("name", "Another connection of this project has this name."))
    if row is None and len(others) >= MOST_CONNECTIONS:
        errors.append(wrong_at("", "The project has %(n)s connections, as many as it may have.", n=len(others)))
    if errors or not isinstance(name, str):
        raise SpecError(errors)
    return ConnectionDraft(name, spec, secret, refresh)


def _in_spec(errors: list[FieldError]) -> list[FieldError]:
    return [FieldError(join("spec", error.path) if error.path else "spec", error.message) for error in errors]


def _given(data: Mapping[str, Any], name: str) -> str | None:
    text = data.get(name)
    return text.strip() if isinstance(text, str) and text.strip() else None


def _secret_errors(
    access: Access, row: Connection | None, spec: ConnectionSpec, secret: str | None, refresh: str | None
) -> list[FieldError]:
    errors: list[FieldError] = []
    if secret is not None:
        message = secret_problem(spec, secret)
        if len(secret) > _LONGEST_SECRET:
            message = say("has more than %(most)s characters", most=_LONGEST_SECRET)
        errors += [FieldError("secret", message)] if message else []
    elif row is not None and row.secret_sealed and _leads_elsewhere(row.spec, spec):
        errors.append(FieldError("secret", _OLD_HOSTS))
    elif (row is None or not row.secret_sealed) and secret_problem(spec, ""):
        errors.append(FieldError("secret", _NO_SECRET))
    pasted = spec.oauth is not None and spec.kind == "oauth2" and spec.oauth.grant == "refresh_token"
    if pasted and refresh is None and (row is None or not _kept_tokens(access, row, spec).refresh):
        errors.append(FieldError("refresh_token", _NO_TOKEN))
    return errors


def _leads_elsewhere(before: ConnectionSpec, after: ConnectionSpec) -> bool:
    """Whether what is secret would be sent to an address for which it was not entered."""
    if before.kind != after.kind or not set(after.hosts) <= set(before.hosts):
        return True
    old, new = before.oauth, after.oauth
    return (
        old is not None and new is not None and (old.token_url, old.authorize_url) != (new.token_url, new.authorize_url)
    )


def _kept_tokens(access: Access, row: Connection, spec: ConnectionSpec) -> OAuthTokens:
    """The tokens that stay when a connection gets this spec: none where they were granted for something else."""
    if _leads_elsewhere(row.spec, spec) or _asks_for_others(row.spec, spec):
        return OAuthTokens()
    try:
        return open_tokens(access.hub.vault, row.tokens_sealed)
    except VaultError:
        return OAuthTokens()


def _asks_for_others(before: ConnectionSpec, after: ConnectionSpec) -> bool:
    """Whether another client, grant or scope is meant. How a request carries the token does not matter."""
    old, new = before.oauth, after.oauth
    if old is None or new is None:
        return old is not new
    return replace(old, send_as=new.send_as, word=new.word, name=new.name) != new


def _address_errors(access: Access, spec: ConnectionSpec) -> list[FieldError]:
    """Whether the hub may connect to the addresses of the connection."""
    urls = {"test_url": spec.test_url, "oauth.token_url": spec.oauth.token_url if spec.oauth else ""}
    guard = access.hub.guard_of(access.project)
    refused = {path: guard.check_url(url) for path, url in urls.items() if url}
    return [FieldError(path, found.sentence) for path, found in refused.items() if found]


def _user_errors(session: Session, row: Connection | None, spec: ConnectionSpec) -> list[FieldError]:
    """Webhooks that use the connection for a host that is no longer among its hosts."""
    if row is None:
        return []
    lost = [each.name for each in used_by(session, [row.id])[row.id] if not may_go_to(spec, each.spec.request.url)]
    if not lost:
        return []
    return [wrong_at("hosts", "These webhooks need another host: %(names)s.", names=", ".join(lost[:5]))]


def _store(access: Access, row: Connection, draft: ConnectionDraft, former: ConnectionSpec | None) -> None:
    """Seals what is given, and says from when on requests may be sent."""
    vault, spec = access.hub.vault, draft.spec
    same = former is not None and not _asks_for_others(former, spec) and not _leads_elsewhere(former, spec)
    if not same or draft.refresh_token is not None:
        row.version += 1  # tokens that are being fetched now are no longer for it
    if draft.secret is not None:
        row.secret_sealed = vault.seal(draft.secret)
    if spec.kind != "oauth2":
        row.tokens_sealed, row.state, row.reason, row.ready_until, row.renew_on = "", READY, "", FOREVER, None
        return
    if same and draft.secret is None and draft.refresh_token is None:
        return  # its tokens stay as they are
    if not same or draft.refresh_token is not None:
        row.tokens_sealed = seal_tokens(vault, OAuthTokens("", draft.refresh_token or ""))
        row.state, row.ready_until = NEW, None
    row.reason, row.failures = "", 0
    renews_itself = spec.oauth is not None and spec.oauth.grant != "authorization_code"
    row.renew_on = access.now if renews_itself or row.tokens_sealed else None


def _rename(session: Session, access: Access, row: Connection, name: str) -> None:
    """The webhooks that use it name it anew, each as a new revision."""
    for webhook in used_by(session, [row.id])[row.id]:
        request = webhook.spec.request
        webhook.spec = replace(webhook.spec, request=replace(request, auth=replace(request.auth, name=name)))
        webhook.revision += 1
        remember_version(session, webhook, access.user.id, access.now)


def _logged(row: Connection) -> dict[str, JSON]:
    """What the audit log keeps: no secret, and no key in an address."""
    shown = {path: redact_text(value) if isinstance(value, str) else value for path, value in _flat(row).items()}
    return {"name": row.name, **shown}


def _flat(row: Connection) -> dict[str, JSON]:
    return flatten(dump_connection(row.spec))
