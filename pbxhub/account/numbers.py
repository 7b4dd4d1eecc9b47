"""Numbers: the label of a DID, and the project its calls belong to. Pages and API change them here."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import fields, note
from pbxhub.account.refusals import Refusal, Taken
from pbxhub.account.texts import read_lines
from pbxhub.store.accounts import Number, Pbx
from pbxhub.translatable import say

LONGEST = {"did": 80, "label": 200}  # characters
_KEPT = ("pbx_id", *LONGEST)


def save_number(
    session: Session, access: Access, row: Number | None, given: Mapping[str, Any]
) -> Number | list[Refusal]:
    """A new number, or (row) the fields that are given of one that is there."""
    read = read_lines(given if row else {"did": "", **given}, LONGEST, frozenset({"did"}))
    if isinstance(read, list):
        return read
    wanted = {**read, **({"pbx_id": given["pbx_id"]} if "pbx_id" in given or row is None else {})}
    if "pbx_id" in wanted and not _is_ours(session, access, wanted["pbx_id"]):
        return [Refusal("pbx_id", say("This is not a PBX of this project."), say("Choose one of its PBXs."))]
    number = row or Number(project_id=access.project.id)
    before = fields(number, *_KEPT) if row else {}
    try:
        with session.begin_nested():
            for name, value in wanted.items():
                setattr(number, name, value)
            session.add(number)
    except IntegrityError:
        taken = say("This number of this PBX has an entry already, maybe in another project.")
        return [Taken("did", taken, say("Change that entry."))]
    note(session, access, "number changed" if row else "number added", number.did, before, fields(number, *_KEPT))
    return number


def delete_number(session: Session, access: Access, row: Number) -> None:
    """Its calls belong to the PBX's own project from now on."""
    note(session, access, "number deleted", row.did, fields(row, *_KEPT))
    session.delete(row)


def _is_ours(session: Session, access: Access, pbx_id: int) -> bool:
    pbx = session.get(Pbx, pbx_id)
    return pbx is not None and pbx.project_id == access.project.id
