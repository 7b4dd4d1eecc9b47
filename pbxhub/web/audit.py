"""The audit log: one line per change, in the transaction of the change."""

from collections.abc import Mapping
from typing import Any, Literal

from flask import request
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.calls.stages import JSON
from pbxhub.store.accounts import AuditEntry
from pbxhub.web.hub import now

Action = Literal[
    "API key deleted", "API key made", "Google Analytics set up",
    "PBX added", "PBX changed", "PBX deleted", "alert added", "alert removed",
    "call called off", "call ordered", "dial plan changed", "employee added", "employee changed", "employee deleted",
    "failures checked", "member added", "member changed", "member removed", "number added", "number changed",
    "number deleted", "project changed", "resthook added", "resthook removed", "resthook subscribed",
    "resthook unsubscribed", "sending again stopped", "sent again", "signing key made", "signing key removed",
    "webhook added", "webhook changed", "webhook deleted", "webhook paused", "webhook resumed", "webhook switched off",
    "webhook switched on", "webhooks reordered",
]  # fmt: skip
"""Everything the log can say; the pages translate it (words.py), the database keeps it in English."""


def note(
    session: Session,
    access: Access,
    action: Action,
    subject: str,
    before: Mapping[str, JSON] | None = None,
    after: Mapping[str, JSON] | None = None,
) -> None:
    """Writes who did what to what; of before and after only what differs is kept. Never pass a secret."""
    session.add(
        AuditEntry(
            project_id=access.project.id,
            user_id=access.user.id,
            who=access.user.email,
            action=action,
            subject=subject[:200],
            changes=differences(before or {}, after or {}),
            address=request.remote_addr or "",
            created_on=now(),
        )
    )


def differences(before: Mapping[str, JSON], after: Mapping[str, JSON]) -> dict[str, list[JSON]]:
    """Field -> [before, after] of what differs."""
    names = [*before, *(name for name in after if name not in before)]
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


def fields(row: Any, *names: str) -> dict[str, JSON]:
    """Columns of a row as they are now, for before and after."""
    return {name: getattr(row, name) for name in names}
