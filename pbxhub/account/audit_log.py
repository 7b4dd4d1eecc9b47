"""The audit log: who changed what. A project's entries are read by its owners, those of the hub by its operators."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Actor, HubAccess, ProjectAccess
from pbxhub.calls.stages import JSON
from pbxhub.store.accounts import AuditEntry

Action = Literal[
    "API key deleted", "API key made", "Google Analytics set up",
    "PBX added", "PBX changed", "PBX deleted", "PBX files named", "alert added", "alert removed",
    "call called off", "call ordered", "calls from the CRM changed",
    "connection added", "connection changed", "connection connected",
    "connection deleted", "content removed", "dial plan changed", "employee added", "employee changed",
    "employee deleted", "filter deleted", "filter saved",
    "failures checked", "failures put back", "invitation declined", "invitation withdrawn", "member added",
    "member changed", "member invited", "member removed", "number added", "number changed",
    "number deleted", "networks granted", "operator added", "operator removed", "password set", "project added",
    "project changed", "project deleted", "queue member paused", "queue member unpaused",
    "recording links revoked", "REST hook added",
    "REST hook removed", "REST hook subscribed",
    "REST hook unsubscribed", "second factor removed", "sending again stopped", "sent again", "signing key made",
    "signing key removed", "user added", "sent after all", "sent what was missing",
    "webhook added", "webhook brought back", "webhook changed", "webhook deleted", "webhook paused",
    "webhook resumed", "webhook set renamed", "webhook switched off", "webhook switched on", "webhooks reordered",
]  # fmt: skip
"""Everything the log can say; the pages translate it (web/labels.py), the database keeps it in English."""


_MOST_READ = 10_000  # entries whose authors are offered as a filter


def write_entry(
    session: Session,
    project_id: int | None,
    actor: Actor,
    action: Action,
    subject: str,
    before: Mapping[str, JSON],
    after: Mapping[str, JSON],
    address: str,
    now: datetime,
) -> None:
    """Writes who did what to what, in the transaction of the change; of before and after only what differs is kept.

    project_id: whose log it is; None = the operators'. Never pass a secret.
    """
    session.add(
        AuditEntry(
            project_id=project_id,
            user_id=actor.id,
            who=actor.email,
            action=action,
            subject=subject[:200],
            changes=differences(before, after),
            address=address,
            created_on=now,
        )
    )


def note(
    session: Session,
    access: ProjectAccess,
    action: Action,
    subject: str,
    before: Mapping[str, JSON] | None = None,
    after: Mapping[str, JSON] | None = None,
) -> None:
    """Writes an entry for a member or program of a project, with the address of the request."""
    write_entry(
        session, access.project.id, access.user, action, subject, before or {}, after or {}, access.address, access.now
    )


def note_of_hub(
    session: Session,
    by: ProjectAccess | HubAccess,
    action: Action,
    subject: str,
    before: Mapping[str, JSON] | None = None,
    after: Mapping[str, JSON] | None = None,
    project_id: int | None = None,
) -> None:
    """Writes to the operators' log, which outlives the project, and to that of the project it concerns (project_id)."""
    for of in dict.fromkeys((None, project_id)):
        write_entry(session, of, by.user, action, subject, before or {}, after or {}, by.address, by.now)


def entries(
    session: Session, project_id: int | None, before: int | None, limit: int, who: str = "", action: str = ""
) -> Sequence[AuditEntry]:
    """The log of a project (None: the operators'), newest first. before: only entries with a lower id. who, action:
    only of this author, and only this; "" for all."""
    query = select(AuditEntry).where(AuditEntry.project_id == project_id)
    query = query.where(AuditEntry.who == who) if who else query
    query = query.where(AuditEntry.action == action) if action else query
    query = query if before is None else query.where(AuditEntry.id < before)
    return session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit)).all()


def authors(session: Session, project_id: int | None) -> list[str]:
    """Who stands in the newest entries of a log."""
    newest = select(AuditEntry.who).where(AuditEntry.project_id == project_id).order_by(AuditEntry.id.desc())
    rows = newest.limit(_MOST_READ).subquery()
    return sorted(session.scalars(select(rows.c.who).distinct()))


def differences(before: Mapping[str, JSON], after: Mapping[str, JSON]) -> dict[str, list[JSON]]:
    """Field -> [before, after] of what differs."""
    names = [*before, *(name for name in after if name not in before)]
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


def fields(row: Any, *names: str) -> dict[str, JSON]:
    """Columns of a row as they are now, for before and after."""
    return {name: getattr(row, name) for name in names}
