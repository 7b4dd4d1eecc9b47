"""Records the outcomes of attempts, in groups, and what follows from them."""

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.attempt_result import AttemptResult, Finished
from pbxhub.delivery.outbox.chain import publish_next, save_answers
from pbxhub.delivery.outbox.ended_tokens import end_tokens, with_ended_token
from pbxhub.delivery.outbox.next_state import decide
from pbxhub.delivery.outbox.pausing import note_health
from pbxhub.delivery.outbox.remove_content import without_content
from pbxhub.delivery.outbox.resthooks import drop_gone
from pbxhub.delivery.outbox.sequence import Place, release_next
from pbxhub.delivery.outbox.wait_for_answer import release
from pbxhub.delivery.outbox.webhook_rate import give_turns_back
from pbxhub.delivery.outbox.write_attempts import write_attempts
from pbxhub.delivery.outbox.write_next_states import lock_owned, move_on
from pbxhub.delivery.read_answer import read
from pbxhub.store.delivery_rows import PENDING


def record(
    context: DeliveryContext, session: Session, finished: Sequence[Finished], now: datetime,
    chance: Callable[[], float] = random.random,
) -> list[AttemptResult]:  # fmt: skip
    """Completes the attempts and moves the deliveries to their next states, in the caller's transaction.

    A success saves the answer on the call, releases what was held for this stage of the call, and queues the next
    webhook of a chain. A final failure counts against the webhook; enough of them pause it.

    All code locks in the same order: calls, then deliveries by id, then webhooks by id, then connections. So
    two workers that record at once cannot deadlock. tests/test_work_beside_locked_rows.py

    A lease that has run out: 1. worker A claims and stands still; 2. its lease ends, worker B claims the delivery
    anew, with another token; 3. A wakes and records: its attempt is completed, the delivery is B's and not touched.
    tests/test_claim_and_record.py
    """
    if not finished:
        return []
    results = _decide(context, session, finished, now, chance)
    write_attempts(session, results)
    if ours := [result for result in results if result.owned]:
        move_on(session, ours)
        _follow(context, session, ours, now)
    end_tokens(session, results, now)
    if give_turns_back(session, results, now):  # last: a claim may wait for these rows
        context.wakeups.send(session)
    return results


def _decide(
    context: DeliveryContext, session: Session, finished: Sequence[Finished], now: datetime,
    chance: Callable[[], float],
) -> list[AttemptResult]:  # fmt: skip
    """What comes of each attempt; saves the answers, and locks the deliveries that are still the caller's."""
    readings = [with_ended_token(context.vault, one, read(one.claimed.webhook.spec, one.answer)) for one in finished]
    save_answers(session, finished, readings)
    owned = lock_owned(session, finished)
    results = [
        decide(one, reading, (one.claimed.id, one.claimed.token) in owned, now, chance())
        for one, reading in zip(finished, readings, strict=True)
    ]
    late = without_content(session, [result.finished.claimed.id for result in results if not result.owned])
    return [result.emptied() if result.finished.claimed.id in late else result for result in results]


def _follow(context: DeliveryContext, session: Session, ours: Sequence[AttemptResult], now: datetime) -> None:
    """What follows for other deliveries of the call, and for the webhooks."""
    if release_next(session, _first_attempts(ours), now):
        context.wakeups.send(session)
    publish_next(context, session, ours, now)
    if call_ids := _awaited(ours):
        release(context, session, call_ids, now)
    note_health(session, ours, context.pause_rule, context.links, now)
    drop_gone(session, ours, now)


def _awaited(results: Iterable[AttemptResult]) -> set[UUID]:
    """The calls in which something may have waited for one of these."""
    ended = (result.finished.claimed for result in results if result.state != PENDING)
    return {claimed.call_id for claimed in ended if claimed.call_id and claimed.webhook.is_awaited}


def _first_attempts(results: Iterable[AttemptResult]) -> list[Place]:
    return [
        (result.finished.claimed.webhook.id, result.finished.claimed.sequence_id)
        for result in results
        if not result.finished.claimed.outcome and result.is_try
    ]
