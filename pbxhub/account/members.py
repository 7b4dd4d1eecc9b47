"""Members of a project: their roles, and the owner that a project always has."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Role
from pbxhub.account.refusals import Refusal
from pbxhub.store.accounts import Membership, lock_project
from pbxhub.translatable import say


def lock_members(session: Session, project_id: int) -> None:
    """Lets nobody else change the members of this project until the end of the transaction.

    Call it before reading the rights of whoever acts: two owners who demote each other at once both are owners when
    they begin, and only the second one's own reading, behind the lock, tells that he no longer is.
    """
    lock_project(session, project_id)


def give_role(session: Session, member: Membership, role: Role | None) -> Refusal | None:
    """Changes a member's role, or (None) takes him out of the project. Returns why not: the last owner stays.

    The members must be locked (lock_members), and the membership read after that.
    """
    if member.role == "owner" and role != "owner" and _owners(session, member.project_id) == 1:
        return Refusal("role", say("A project needs an owner."), say("Make somebody else an owner first."))
    if role is None:
        session.delete(member)
    else:
        member.role = role
    return None


def membership_of(session: Session, project_id: int, user_id: int) -> Membership | None:
    """The membership of this user in this project."""
    return session.scalar(select(Membership).where(Membership.project_id == project_id, Membership.user_id == user_id))


def _owners(session: Session, project_id: int) -> int:
    query = select(func.count()).where(Membership.project_id == project_id, Membership.role == "owner")
    return session.scalar(query) or 0
