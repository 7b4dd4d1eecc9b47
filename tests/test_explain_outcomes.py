"""A user reads how an attempt ended and what to do."""

from pathlib import Path

import pytest

from pbxhub.sending.outcome_pages import EXPLANATIONS
from pbxhub.sending.outcomes import OUTCOMES, describe, error_number, may_pass, numbered
from pbxhub.webhooks.answer_verdict import code_of_status

NUMBERED = (
    "ok", "http_3xx", "http_4xx", "http_5xx", "check_failed", "steering_refused", "dns_not_found",
    "connect_refused", "connect_timeout", "tls_error", "deadline", "reset", "too_many_headers", "blocked_target",
    "not_sent_mandatory", "render_error", "secret_unreadable", "token_expired", "token_refused", "file_not_ready",
    "file_gone", "file_too_large", "file_refused", "file_unreadable", "bad_answer", "gone", "worker_lost",
    "restored", "skipped", "cancelled",
)  # fmt: skip
CODES = set(NUMBERED)


def test_every_code_has_a_sentence_and_every_failure_a_hint() -> None:
    assert set(OUTCOMES) == CODES
    for code, outcome in OUTCOMES.items():
        assert outcome.sentence.endswith(".")
        assert outcome.hint or code in ("ok", "cancelled", "skipped")


def test_a_number_stays_with_its_outcome_for_ever_as_links_name_it() -> None:
    """A new outcome gets the next number. Never change a line of NUMBERED; only add to its end."""
    assert [outcome.code for outcome in sorted(OUTCOMES.values(), key=lambda one: one.number)] == list(NUMBERED)
    assert [numbered(number).code for number in range(1, len(NUMBERED) + 1)] == list(NUMBERED)  # type: ignore[union-attr]
    assert (numbered(0), numbered(10**30)) == (None, None)
    assert (error_number("gone"), error_number("ok"), error_number("")) == (26, None, None)


def test_every_outcome_is_explained_and_no_advice_is_said_twice() -> None:
    assert list(EXPLANATIONS) == list(NUMBERED)
    for code, why in EXPLANATIONS.items():
        assert all(text.endswith((".", "}.")) for text in (why.cause, why.seen, why.example, *why.more)), code
        assert len({OUTCOMES[code].hint, *why.more}) == 1 + len(why.more), code


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
        known = f"| {outcome.number} | `{outcome.code}` | {reason} | {outcome.sentence}"
        assert f"{known} | {outcome.hint or '–'} | {again} |\n" in text
