"""A receiver that answers 401 to the token of a connection: the token has ended before its time.

The order of events: 1. a request leaves with version 7 of the token and gets 401; 2. record leaves the delivery as it
was, as if this attempt had not been, and ends version 7: nothing else of the connection is sent; 3. renewals.py fetches
version 8; 4. the claim finds the delivery and sends it again. If version 8 is there already at step 2, nothing is
ended, and the delivery is sent with it.

A 401 is a failure like any other when the token is FRESH, and when only a person can renew it: one webhook at a wrong
address would stop all others of the connection until somebody connects it again.
tests/test_renew_tokens.py
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox.attempt_result import AttemptResult, Finished
from pbxhub.delivery.read_answer import Reading
from pbxhub.sending.outcomes import OUTCOMES, TOKEN_EXPIRED
from pbxhub.store.connections import Connection
from pbxhub.vault import Vault

FRESH = timedelta(minutes=1)
"""A token that was renewed less than this ago has not ended: its 401 has another reason. Without this rule a webhook
that lacks a right would have the token of all others renewed again and again."""


def with_ended_token(vault: Vault, one: Finished, reading: Reading) -> Reading:
    """The reading; of a 401 to a token that can be renewed and is not fresh, that the token has ended."""
    if reading.ok or not _is_refused_token(vault, one):
        return reading
    return replace(reading, ok=False, code=TOKEN_EXPIRED, sentence=OUTCOMES[TOKEN_EXPIRED].sentence)


def end_tokens(session: Session, results: Iterable[AttemptResult], now: datetime) -> None:
    """Ends the tokens that receivers have refused, unless they have been renewed since, and asks for new ones."""
    refused = {_version(result.finished) for result in results if result.reading.code == TOKEN_EXPIRED}
    for connection_id, version in sorted(refused):
        session.execute(
            update(Connection)
            .where(Connection.id == connection_id, Connection.version == version, Connection.ready_until > now)
            .values(ready_until=None, renew_on=now),
            execution_options={"synchronize_session": False},
        )


def _is_refused_token(vault: Vault, one: Finished) -> bool:
    connection = one.claimed.webhook.connection
    if one.answer.status_code != 401 or connection is None or not connection.renews_itself(vault):
        return False
    return connection.renewed_on is None or one.claimed.started_on - connection.renewed_on >= FRESH


def _version(one: Finished) -> tuple[int, int]:
    connection = one.claimed.webhook.connection
    assert connection is not None
    return connection.id, connection.version
