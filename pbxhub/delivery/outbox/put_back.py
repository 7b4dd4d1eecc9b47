"""Takes deliveries that are to be sent again out of the queue and restores the state they had before."""

from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox.lost_attempts import end_lost
from pbxhub.store.delivery_rows import PENDING, Delivery
from pbxhub.store.resends import BeforeResend

_QUIETLY = {"synchronize_session": False}
_NO_ATTEMPT_SINCE = select(BeforeResend.delivery_id).where(BeforeResend.delivery_id == Delivery.id, Delivery.tries == 0)
WAS_RESENT = _NO_ATTEMPT_SINCE.exists()
"""A condition on pending deliveries: queued to be sent again, and no attempt recorded since."""


def is_free(now: datetime) -> ColumnElement[bool]:
    """A condition on pending deliveries: no worker has leased it, or the lease has ended."""
    return or_(Delivery.claim_token.is_(None), Delivery.due_at <= now)


def put_back(session: Session, which: ColumnElement[bool], now: datetime, skip_locked: bool = False) -> int:
    """Restores those of `which` that are pending, is_free and WAS_RESENT. Returns how many.

    A delivery that a worker has leased is left alone: its attempt is recorded when it ends. One whose worker was lost
    is restored; its attempt stays in the history, as lost. It no longer counts as one that the order has sent.
    """
    free = (
        select(Delivery.id)
        .where(Delivery.state == PENDING, which, is_free(now), WAS_RESENT)
        .order_by(Delivery.id)
        .with_for_update(skip_locked=skip_locked, key_share=True)
    )
    end_lost(session, free.where(Delivery.claim_token.is_not(None)), now)
    restored = (
        update(Delivery)
        .where(Delivery.id == BeforeResend.delivery_id, Delivery.id.in_(free))
        .values(
            {name: getattr(BeforeResend, name) for name in _ALWAYS}
            | {name: func.coalesce(getattr(BeforeResend, name), getattr(Delivery, name)) for name in _IF_RENDERED}
            | {"claim_token": None, "held": False, "resend_id": None}
        )
    )
    return session.execute(restored, execution_options=_QUIETLY).rowcount  # type: ignore[attr-defined,no-any-return]


_ALWAYS = (
    "state", "lane", "due_at", "tries", "outcome", "message", "status_code", "duration_ms", "finished_on", "checked_on",
    "content_removed_on", "content_removed_by",
)  # fmt: skip
_IF_RENDERED = ("webhook_revision", "method", "url", "headers", "body", "files")


def as_it_is(row: Delivery, rendered: bool) -> BeforeResend:
    """The state of a finished delivery, kept while it is sent again. rendered: with its request, which changes, too."""
    names = (*_ALWAYS, *_IF_RENDERED) if rendered else _ALWAYS
    return BeforeResend(delivery_id=row.id, **{name: getattr(row, name) for name in names})
