"""The rate of a webhook (spec.limits.per_minute): a claim writes when its next request may leave; one that did not
leave after all gives its turn back."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox.attempt_result import AttemptResult
from pbxhub.delivery.outbox.claimed import Claimed
from pbxhub.store.bulk import Upsert
from pbxhub.store.delivery_rows import WebhookPace
from pbxhub.store.session import Base

_SET = Upsert(Base.metadata.tables[WebhookPace.__tablename__], ("webhook_id",), ("next_on",))


def take_turns(session: Session, claimed: Iterable[Claimed]) -> None:
    """Of webhooks with a rate, of which a claim takes one delivery: when the next one may leave. Evenly spread, because
    receivers count in windows that the hub does not know: no minute has more than the rate, wherever it begins."""
    turns = {one.webhook.id: _next_on(one) for one in claimed if one.webhook.spec.limits.per_minute}
    _SET.run(session, [{"webhook_id": id_, "next_on": next_on} for id_, next_on in sorted(turns.items())])


def give_turns_back(session: Session, results: Iterable[AttemptResult], now: datetime) -> bool:
    """Attempts in which no request was sent, such as those whose recording was not ready, use up nothing of the rate.
    True: another delivery may leave now.

    Only the newest turn is given back: 1. A begins, 2. B begins when A's turn is over, 3. A turns out not to have been
    sent. If C began at once, the minute after B would have one too many. A row that a claim is just writing is left.
    """
    unsent = [one.finished.claimed for one in results if not one.was_sent]
    newest = [
        and_(WebhookPace.webhook_id == one.webhook.id, WebhookPace.next_on == _next_on(one))
        for one in unsent
        if one.webhook.spec.limits.per_minute
    ]
    if not newest:
        return False
    ids = session.scalars(select(WebhookPace.webhook_id).where(or_(*newest)).with_for_update(skip_locked=True)).all()
    session.execute(
        update(WebhookPace).where(WebhookPace.webhook_id.in_(ids)).values(next_on=now),
        execution_options={"synchronize_session": False},
    )
    return bool(ids)


def _next_on(claimed: Claimed) -> datetime:
    return claimed.started_on + timedelta(minutes=1) / claimed.webhook.spec.limits.per_minute
