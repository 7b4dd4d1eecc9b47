"""The next state of a delivery after an attempt: delivered, failed, or pending until the next attempt."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from pbxhub.delivery.outbox.attempt_result import AttemptResult, Finished
from pbxhub.delivery.read_answer import Reading
from pbxhub.sending.exchange import Answer
from pbxhub.sending.outcomes import FILE_NOT_READY, LOST, NOT_SENT_YET, TOKEN_EXPIRED, may_pass
from pbxhub.store.delivery_rows import DELIVERED, FAILED, PENDING
from pbxhub.webhooks.paths_in_json import json_or_missing, walk
from pbxhub.webhooks.retry import next_delay

_WAITS = {FILE_NOT_READY: (timedelta(seconds=2), timedelta(minutes=1))}
_OTHERS_WAIT = (timedelta(minutes=1), timedelta(minutes=10))  # at first, and at most


def decide(one: Finished, reading: Reading, owned: bool, now: datetime, chance: float) -> AttemptResult:
    if reading.ok:
        return AttemptResult(one, reading, DELIVERED, now, owned)
    if reading.code == TOKEN_EXPIRED:  # the claim leaves it alone until the connection has a new token
        return AttemptResult(one, reading, PENDING, now, owned)
    if reading.code in NOT_SENT_YET:  # no request was sent: no try is used up
        first, most = _WAITS.get(reading.code, _OTHERS_WAIT)
        wait = min(first * 2 ** min(one.claimed.attempt - 1, 10), most)
        return AttemptResult(one, reading, PENDING, now + wait, owned)
    delay = next_delay(
        one.claimed.webhook.spec.retry,
        one.claimed.tries + 1,
        one.answer.outcome != LOST and may_pass(reading.code, one.answer.status_code),
        chance,
        retry_after(one.answer, now),
    )
    if delay is None:
        return AttemptResult(one, reading, FAILED, now, owned)
    return AttemptResult(one, reading, PENDING, now + timedelta(seconds=delay), owned)


def retry_after(answer: Answer, now: datetime) -> float | None:
    """Seconds the receiver asks to wait: in a Retry-After header, as a number or a date, or beside a 429 in the body
    as Telegram does. None without a readable one."""
    for name, value in answer.headers:
        if name.lower() == "retry-after":
            return _wait(value.strip(), now)
    return _wait_in_body(answer.body) if answer.status_code == 429 else None


def _wait(text: str, now: datetime) -> float | None:
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def _wait_in_body(body: bytes) -> float | None:
    seconds = walk(json_or_missing(body), ("parameters", "retry_after"))
    return float(seconds) if type(seconds) is int and 0 <= seconds < 1_000_000_000 else None
