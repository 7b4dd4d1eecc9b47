"""Employees: the cards behind extensions. Pages and API add, change and delete them here."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import fields, note
from pbxhub.account.email_addresses import normalised
from pbxhub.account.refusals import Refusal, Taken
from pbxhub.account.texts import read_lines
from pbxhub.store.accounts import Employee
from pbxhub.translatable import say

LONGEST = {"extension": 80, "name": 200, "email": 255, "department": 200, "crm_id": 200}  # characters


def save_employee(
    session: Session, access: Access, row: Employee | None, given: Mapping[str, Any]
) -> Employee | list[Refusal]:
    """A new card, or (row) the fields that are given of one that is there."""
    read = read_lines(given if row else {"extension": "", **given}, LONGEST, frozenset({"extension"}))
    if isinstance(read, list):
        return read
    if read.get("email") and not normalised(read["email"]):
        return [Refusal("email", say("This is not an e-mail address."), say("Write it like anna@example.com."))]
    card = row or Employee(project_id=access.project.id)
    before = fields(card, *LONGEST) if row else {}
    try:
        with session.begin_nested():
            for name, text in read.items():
                setattr(card, name, text)
            session.add(card)
    except IntegrityError:
        return [Taken("extension", say("This extension has a card already."), say("Change that card."))]
    note(session, access, "employee changed" if row else "employee added", card.extension, before,
         fields(card, *LONGEST))  # fmt: skip
    return card


def delete_employee(session: Session, access: Access, row: Employee) -> None:
    """Takes the card away; calls keep their extension."""
    note(session, access, "employee deleted", row.extension, fields(row, *LONGEST))
    session.delete(row)
