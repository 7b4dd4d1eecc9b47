"""The audit log as pages and the API write it: the entry names the address of the request."""

from collections.abc import Mapping

from flask import request
from sqlalchemy.orm import Session

from pbxhub.account.access import Actor
from pbxhub.account.audit_log import Action, differences, fields, note, write_entry
from pbxhub.calls.stages import JSON
from pbxhub.web.hub import now

__all__ = ["Action", "differences", "fields", "note", "note_of_hub"]


def note_of_hub(
    session: Session,
    user: Actor,
    action: Action,
    subject: str,
    before: Mapping[str, JSON] | None = None,
    after: Mapping[str, JSON] | None = None,
    project_id: int | None = None,
) -> None:
    """Writes it in the operators' log, which outlives the project, and in that of the project it concerns."""
    _write(session, None, user, action, subject, before, after)
    if project_id is not None:
        _write(session, project_id, user, action, subject, before, after)


def _write(
    session: Session,
    project_id: int | None,
    user: Actor,
    action: Action,
    subject: str,
    before: Mapping[str, JSON] | None,
    after: Mapping[str, JSON] | None,
) -> None:
    address = request.remote_addr or ""
    write_entry(session, project_id, user, action, subject, before or {}, after or {}, address, now())
