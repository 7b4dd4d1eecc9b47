"""Codes of the second factor are good once, whoever sends them, in whatever process."""

import hmac
from collections.abc import Callable

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from pbxhub.store.accounts import User


def use_time_step(session: Session, user_id: int, step: int) -> bool:
    """Whether the code of this time step (RFC 6238, T) is new: neither it nor a later one has been used (5.2). It is
    used now. Of two at once one gets True: the row is changed by one statement."""
    newer = or_(User.tf_last_step.is_(None), User.tf_last_step < step)
    done = session.execute(
        update(User).where(User.id == user_id, newer).values(tf_last_step=step),
        execution_options={"synchronize_session": False},
    )
    return done.rowcount == 1  # type: ignore[attr-defined,no-any-return]


def use_recovery_code(session: Session, user_id: int, code: str, open_code: Callable[[str], str]) -> bool:
    """Whether this is one of the user's recovery codes; it is taken off the list. open_code: decrypts one of the list,
    empty when it cannot."""
    user = session.scalar(select(User).where(User.id == user_id).with_for_update())
    given = code.strip().lower().encode()
    kept = [sealed for sealed in user.recovery_codes if not _same(open_code(sealed), given)] if user else []
    if user is None or len(kept) == len(user.recovery_codes):
        return False
    user.recovery_codes = kept
    return True


def _same(code: str, given: bytes) -> bool:
    return bool(code) and hmac.compare_digest(code.encode(), given)
