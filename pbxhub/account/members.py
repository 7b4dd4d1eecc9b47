"""Members of a project: their roles, and the owner that a project always has."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, Role
from pbxhub.account.audit_log import Action, note
from pbxhub.account.refusals import NotFoundError, Refusal
from pbxhub.store.accounts import Membership, User, lock_project
from pbxhub.translatable import say


def lock_members(session: Session, project_id: int) -> None:
    """Locks the members of this project until the end of the transaction.

    Call it before reading the rights of the acting user. When two owners demote each other at once, both are owners at
    first; only by reading after the lock does the second one's request see that he no longer is.
    """
    lock_project(session, project_id)


def change_role(session: Session, access: Access, user_id: int, role: Role | None) -> Refusal | None:
    """Changes a member's role, or (None) removes the member. Returns why not: the last owner stays. Raises
    NotFoundError for no member.

    The members must be locked (lock_members) before the rights of whoever asks were read.
    """
    member = membership_of(session, access.project.id, user_id)
    if member is None:
        raise NotFoundError
    if member.role == "owner" and role != "owner" and _owners(session, member.project_id) == 1:
        return Refusal("role", say("A project needs an owner."), say("Make somebody else an owner first."))
    email, before = session.get_one(User, user_id).email, member.role
    if role is None:
        session.delete(member)
    else:
        member.role = role
    action: Action = "member changed" if role else "member removed"
    note(session, access, action, email, {"role": before}, {"role": role or "none"})
    return None


def members_of(session: Session, project_id: int) -> list[tuple[User, str]]:
    """Everybody in a project with their role, by e-mail."""
    rows = session.execute(
        select(User, Membership.role)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.project_id == project_id)
        .order_by(User.email)
    )
    return [(row[0], row[1]) for row in rows]


def membership_of(session: Session, project_id: int, user_id: int) -> Membership | None:
    """The membership of this user in this project."""
    return session.scalar(select(Membership).where(Membership.project_id == project_id, Membership.user_id == user_id))


def _owners(session: Session, project_id: int) -> int:
    query = select(func.count()).where(Membership.project_id == project_id, Membership.role == "owner")
    return session.scalar(query) or 0
