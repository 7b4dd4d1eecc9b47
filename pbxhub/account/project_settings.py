"""The settings of a project that its owners change."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import fields, note
from pbxhub.account.projects import LONGEST, read_project
from pbxhub.account.refusals import Refusal
from pbxhub.account.texts import read_whole_numbers
from pbxhub.account.working_times import read_working_time
from pbxhub.store.webhooks import touch_webhooks

RANGES = {"recording_link_days": (0, 3650)}
_SETTINGS = (*LONGEST, *RANGES, "working_hours", "holidays")


def change_project(session: Session, access: Access, given: Mapping[str, Any]) -> list[Refusal]:
    """Changes those of name, time zone, country, working hours, holidays and the lifetime of links to recordings that
    are given; or says everything that is wrong with them."""
    read, times, days = read_project(given), read_working_time(given), read_whole_numbers(given, RANGES)
    if isinstance(read, list) or isinstance(times, list) or isinstance(days, list):
        return [each for part in (read, times, days) if isinstance(part, list) for each in part]
    project = access.project
    before = fields(project, *_SETTINGS)
    for name, value in {**read, **times, **days}.items():
        setattr(project, name, value)
    session.flush()
    touch_webhooks(session, project.id)  # their times, numbers and links are made by these settings
    note(session, access, "project changed", project.name, before, fields(project, *_SETTINGS))
    return []


def revoke_recording_links(session: Session, access: Access) -> None:
    """No link to a recording that was made until now works any longer; new requests get new ones."""
    access.project.recording_link_series += 1
    session.flush()
    touch_webhooks(session, access.project.id)
    note(session, access, "recording links revoked", access.project.name)
