"""Employees: the cards of extensions. Pages and API add, change and delete them here."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import fields, note
from pbxhub.account.email_addresses import normalised
from pbxhub.account.refusals import Refusal, Taken
from pbxhub.account.texts import read_lines
from pbxhub.calls.stages import JSON
from pbxhub.store.accounts import Employee, lock_project
from pbxhub.store.columns import one_of
from pbxhub.translatable import say

LONGEST = {"extension": 80, "name": 200, "email": 255, "department": 200, "crm_id": 200}  # characters
_MOST_ENDPOINTS = 20
_ENDPOINT = re.compile(r"[^\s/,;&\[\](){}\"'\\=]{1,80}")
_TECHNOLOGY = re.compile(r"[A-Za-z0-9]+/")  # of a channel: PJSIP/anna2


def save_employee(
    session: Session, access: Access, row: Employee | None, given: Mapping[str, Any]
) -> Employee | list[Refusal]:
    """A new card, or (row) the fields that are given of one that is there."""
    read = _read(given if row else {"extension": "", **given})
    if isinstance(read, list):
        return read
    lock_project(session, access.project.id)  # of two cards saved at once, one must see the endpoints of the other
    card = row or Employee(project_id=access.project.id, endpoints=[])
    before = _audited(card) if row else {}
    if taken := _taken_endpoints(session, access, card, read.get("endpoints", ())):
        return taken
    try:
        with session.begin_nested():
            for name, value in read.items():
                setattr(card, name, value)
            session.add(card)
    except IntegrityError:
        return [Taken("extension", say("This extension has a card already."), say("Change that card."))]
    note(session, access, "employee changed" if row else "employee added", card.extension, before, _audited(card))
    return card


def employee_names(session: Session, project_id: int, extensions: Collection[str]) -> dict[str, str]:
    """The names on the cards of these extensions."""
    known = select(Employee.extension, Employee.name).where(Employee.project_id == project_id, Employee.name != "")
    rows = session.execute(known.where(one_of(Employee.extension, extensions))).all()
    return {row.extension: row.name for row in rows}


def delete_employee(session: Session, access: Access, row: Employee) -> None:
    """Deletes the card; calls keep their extension."""
    note(session, access, "employee deleted", row.extension, _audited(row))
    session.delete(row)


def _read(given: Mapping[str, Any]) -> dict[str, Any] | list[Refusal]:
    """The fields that are given, or everything that is wrong with them."""
    texts = read_lines(given, LONGEST, frozenset({"extension"}))
    names = read_endpoints(given["endpoints"]) if "endpoints" in given else None
    refused = [*(texts if isinstance(texts, list) else ()), *([names] if isinstance(names, Refusal) else ())]
    if isinstance(texts, list) or refused:
        return refused
    if texts.get("email") and not normalised(texts["email"]):
        return [Refusal("email", say("This is not an e-mail address."), say("Write it like anna@example.com."))]
    return {**texts, **({} if names is None else {"endpoints": names})}


def read_endpoints(given: Sequence[str]) -> list[str] | Refusal:
    """Names of endpoints as Asterisk has them, each once. The technology before a name is dropped: PJSIP/anna2 is the
    endpoint anna2."""
    names = list(dict.fromkeys(name for text in given if (name := _TECHNOLOGY.sub("", text.strip(), count=1))))
    if len(names) > _MOST_ENDPOINTS:
        counted = say("These are %(count)s endpoints.", count=len(names))
        return Refusal("endpoints", counted, say("Give up to %(most)s.", most=_MOST_ENDPOINTS))
    for name in names:
        if not (_ENDPOINT.fullmatch(name) and name.isprintable()):
            return Refusal(
                "endpoints",
                say("%(name)s is not the name of an endpoint.", name=name[:80]),
                say("Write it as in Asterisk, such as anna2 or PJSIP/anna2, with up to 80 characters."),
            )
    return names


def _taken_endpoints(session: Session, access: Access, card: Employee, names: Sequence[str]) -> list[Refusal]:
    """Why other cards of the project keep these endpoints; nothing when they are free."""
    if not names:
        return []
    others = select(Employee).where(Employee.project_id == access.project.id, Employee.id != (card.id or 0))
    owners = {name: other.extension for other in session.scalars(others) for name in other.endpoints}
    return [
        Taken(
            "endpoints",
            say("The endpoint %(name)s is on the card of %(extension)s.", name=name, extension=owners[name]),
            say("Remove it from that card first."),
        )
        for name in names
        if name in owners
    ]


def _audited(card: Employee) -> dict[str, JSON]:
    return {**fields(card, *LONGEST), "endpoints": ", ".join(card.endpoints)}
