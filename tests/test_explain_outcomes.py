"""A user reads how an attempt ended and what to do."""

from pathlib import Path

import pytest

from pbxhub.sending.outcomes import OUTCOMES, describe, may_pass
from pbxhub.webhooks.answer_verdict import code_of_status

CODES = {
    "ok", "http_3xx", "http_4xx", "http_5xx", "check_failed", "dns_not_found", "connect_refused", "connect_timeout",
    "tls_error", "deadline", "reset", "too_many_headers", "blocked_target", "not_sent_mandatory", "render_error",
    "secret_unreadable", "bad_answer", "gone", "worker_lost", "restored", "skipped", "cancelled", "steering_refused",
    "token_expired", "token_refused", "file_not_ready", "file_gone", "file_too_large",
    "file_refused", "file_unreadable",
}  # fmt: skip


def test_every_code_has_a_sentence_and_every_failure_a_hint() -> None:
    assert set(OUTCOMES) == CODES
    for code, outcome in OUTCOMES.items():
        assert outcome.sentence.endswith(".")
        assert outcome.hint or code in ("ok", "cancelled", "skipped")


def test_every_failure_has_a_stable_reason_for_programs() -> None:
    assert {outcome.reason for outcome in OUTCOMES.values()} == {
        "", "REDIRECTION", "CLIENT_ERROR", "SERVER_ERROR", "TIMEOUT", "CONNECTION_ERROR", "DNS_ERROR", "TLS_ERROR",
        "INVALID_RESPONSE", "MISSING_MANDATORY", "NOT_SENT", "UNKNOWN",
    }  # fmt: skip
    assert all(outcome.reason for outcome in OUTCOMES.values() if outcome.code != "ok")


def test_408_425_429_and_every_5xx_are_tried_again_and_no_other_status() -> None:
    again = [status for status in range(200, 600) if may_pass(code_of_status(status), status)]
    assert again == [408, 425, 429, *range(500, 600)]


def test_only_what_may_pass_is_tried_again() -> None:
    passing = {"http_5xx", "dns_not_found", "connect_refused", "connect_timeout", "deadline", "reset"}
    passing |= {"worker_lost", "secret_unreadable", "token_expired", "token_refused"}
    passing |= {"file_not_ready", "file_refused", "file_unreadable"}
    assert {code for code in CODES if may_pass(code)} == passing


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 422, 429, 502, 503, 504])
def test_the_usual_statuses_have_hints_of_their_own(status: int) -> None:
    code = code_of_status(status)
    assert describe(code, status).hint != describe(code).hint
    assert str(status) in describe(code, status).sentence


def test_an_unknown_code_is_a_bug() -> None:
    with pytest.raises(KeyError):
        describe("no_such_code")


def test_the_documentation_has_the_table_as_it_is() -> None:
    text = (Path(__file__).parents[1] / "docs" / "sending.md").read_text()
    for outcome in OUTCOMES.values():
        again = "yes" if outcome.may_pass else "no"
        reason = f"`{outcome.reason}`" if outcome.reason else "–"
        assert f"| `{outcome.code}` | {reason} | {outcome.sentence} | {outcome.hint or '–'} | {again} |\n" in text
