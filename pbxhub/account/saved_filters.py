"""Filters of the lists of calls, deliveries and errors, saved under a name: for oneself, or for the project."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.filter_values import is_readable
from pbxhub.account.refusals import NotAllowedError, NotFoundError, Refusal
from pbxhub.account.texts import one_line
from pbxhub.store.accounts import Employee, SavedFilter, lock_project
from pbxhub.store.history import Call
from pbxhub.store.webhooks import Webhook
from pbxhub.translatable import say

CALL_FIELDS = ("number", "direction", "result", "disposition", "employee", "did", "talk_from", "talk_to", "recorded",
               "last", "from", "to")  # fmt: skip
DELIVERY_FIELDS = ("state", "webhook", "stage", "outcome", "code", "number", "call", "last", "from", "to", "hour")
FIELDS = {"calls": CALL_FIELDS, "deliveries": DELIVERY_FIELDS, "errors": DELIVERY_FIELDS}
"""The fields of each list, as they stand in the address of its page."""

MOST = 50  # of the project, and of each member
LONGEST_NAME, LONGEST_VALUE = 80, 150  # characters


def saved_filters(session: Session, access: Access, page: str = "") -> Sequence[SavedFilter]:
    """Those of the project and one's own, by name. page: a key of FIELDS, "" for all."""
    query = select(SavedFilter).where(SavedFilter.project_id == access.project.id, _visible(access))
    query = query.where(SavedFilter.page == page) if page else query
    return session.scalars(query.order_by(SavedFilter.name, SavedFilter.id)).all()


def save_filter(
    session: Session, access: Access, page: str, name: str, given: Mapping[str, str], *, shared: bool
) -> SavedFilter | list[Refusal]:
    """Saves a filter; one of the same name and list is replaced. shared: for the project, which needs the right
    "filters.change"; a program has no filters of its own, so that its are always shared."""
    shared = shared or access.user.id is None
    if shared and not access.may("filters.change"):
        raise NotAllowedError(say("Your role lets you save filters for yourself only."))
    called = one_line({"name": name}, "name", LONGEST_NAME, needed=True)
    if isinstance(called, Refusal):
        return [called]
    given = {name: value.strip() for name, value in given.items()}
    if refused := _wrong_fields(page, given):
        return [refused]
    lock_project(session, access.project.id)  # of two at the same moment the second counts the first
    mine = (SavedFilter.project_id == access.project.id, SavedFilter.user_id == (None if shared else access.user.id))
    row = session.scalar(select(SavedFilter).where(*mine, SavedFilter.page == page, SavedFilter.name == called))
    if row is None and (session.scalar(select(func.count()).select_from(SavedFilter).where(*mine)) or 0) >= MOST:
        return [Refusal("name", say("There are %(most)s saved filters already.", most=MOST), say("Delete one first."))]
    row = row or SavedFilter(project_id=access.project.id, user_id=None if shared else access.user.id, page=page,
                             name=called, created_on=access.now)  # fmt: skip
    row.fields = {name: value for name, value in given.items() if value}
    session.add(row)
    session.flush()
    if shared:
        note(session, access, "filter saved", called)
    return row


def filter_of(session: Session, access: Access, filter_id: int) -> SavedFilter:
    """A filter of the project, or one's own. Raises NotFoundError for anything else."""
    row = session.get(SavedFilter, filter_id)
    if row is None or row.project_id != access.project.id or row.user_id not in (None, access.user.id):
        raise NotFoundError
    return row


def readable(page: str, given: Mapping[str, str]) -> dict[str, str]:
    """The values that their list can still read: a later version may know an outcome or a stage no longer."""
    return {name: value for name, value in given.items() if name in FIELDS[page] and is_readable(name, value)}


def lost_values(session: Session, access: Access, given: Mapping[str, str]) -> list[str]:
    """What the values of a list's filter name but no longer exists, one sentence each.

    given: values that the list has read.
    """
    said: list[str] = []
    if "webhook" in given:
        row = session.get(Webhook, int(given["webhook"]))
        if row is None or row.project_id != access.project.id:
            said.append(say("The webhook of this filter no longer exists, so nothing matches. Choose another one."))
        elif row.deleted_on:
            said.append(say("The webhook “%(name)s” was deleted. This is what it had sent.", name=row.name))
    employee = given.get("employee", "")
    if employee and not any(session.scalar(select(exists().where(*one))) for one in _called(access, employee)):
        said.append(say("There is no longer an employee called “%(name)s”. Choose another one.", name=employee[:40]))
    return said


def _called(access: Access, employee: str) -> list[list[ColumnElement[bool]]]:
    """Where a name or an extension occurs: on a card, or in a call."""
    ours = Employee.project_id == access.project.id
    on_card = or_(Employee.name == employee, Employee.extension == employee)
    return [[ours, on_card], [Call.project_id == access.project.id, Call.extension == employee]]


def delete_filter(session: Session, access: Access, row: SavedFilter) -> None:
    """Deletes it, for everybody if it is shared. Raises NotAllowedError."""
    if row.shared and not access.may("filters.change"):
        raise NotAllowedError(say("Your role lets you delete your own filters only."))
    if row.shared:
        note(session, access, "filter deleted", row.name)
    session.delete(row)


def _visible(access: Access) -> ColumnElement[bool]:
    return or_(SavedFilter.user_id.is_(None), SavedFilter.user_id == access.user.id)


def _wrong_fields(page: str, given: Mapping[str, str]) -> Refusal | None:
    known = FIELDS.get(page, ())
    wrong = next((name for name in given if name not in known), None)
    if wrong is not None:
        return Refusal("query", say("This list has no field %(name)s.", name=wrong[:40]), say("Leave it out."))
    if not any(given.values()):
        return Refusal("query", say("This filter is empty."), say("Narrow the list first, then save."))
    if any(len(value) > LONGEST_VALUE for value in given.values()):
        return Refusal("query", say("A value is too long."), say("Give up to %(most)s characters.", most=LONGEST_VALUE))
    unread = next(((name, value) for name, value in given.items() if value and not is_readable(name, value)), None)
    if unread:
        said = say("%(field)s: “%(value)s” cannot be used.", field=unread[0], value=unread[1][:40])
        return Refusal("query", said, say("Copy the value from the address of the filtered list."))
    return None
