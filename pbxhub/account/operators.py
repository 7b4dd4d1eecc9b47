"""Operators of the hub; there is always at least one."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import HubAccess
from pbxhub.account.audit_log import note_of_hub
from pbxhub.account.refusals import NotFoundError, Refusal
from pbxhub.store.accounts import User
from pbxhub.translatable import say


def operators_of(session: Session) -> list[User]:
    """Every operator, the oldest user first."""
    return list(session.scalars(select(User).where(User.operator).order_by(User.created_on, User.id)))


def change_operator(session: Session, by: HubAccess, user_id: int, operator: bool) -> Refusal | None:
    """Makes a user an operator, or takes the right back. Returns why not: the last operator stays.

    Raises NotFoundError for no user. Two who are revoked at once go one after
    the other: each locks all operators, and the second one finds, behind the lock, that only one is left (READ
    COMMITTED reads a locked row again; SQLite has one writer).
    """
    rows = session.scalars(select(User).where(User.operator).order_by(User.id).with_for_update()).all()
    user = session.get(User, user_id)
    if user is None:
        raise NotFoundError
    if by.user.id is not None and by.user.id not in {row.id for row in rows}:
        return Refusal("operator", say("You are no longer an operator."), say("Ask another operator."))
    if operator and not (user.active and user.password):
        return Refusal(
            "operator",
            say("%(who)s cannot sign in yet.", who=user.email),
            say("Make this user an operator once they have chosen a password."),
        )
    if not operator and user.operator and not any(row.id != user_id and row.active for row in rows):
        return Refusal(
            "operator",
            say("%(who)s is the last operator of this hub.", who=user.email),
            say("Make somebody else an operator first."),
        )
    if user.operator != operator:
        user.operator = operator
        note_of_hub(session, by, "operator added" if operator else "operator removed", user.email)
    return None
