"""Reads an answer: is it a success by the rule of the webhook, and which values does it give to later webhooks?"""

from dataclasses import dataclass

from pbxhub.calls.stages import Value
from pbxhub.sending.exchange import Answer
from pbxhub.sending.outcomes import describe
from pbxhub.translatable import say
from pbxhub.webhooks.answer_verdict import judge
from pbxhub.webhooks.saved_values import Answered, chain_values, read_answer
from pbxhub.webhooks.spec import WebhookSpec


@dataclass(frozen=True, slots=True)
class Reading:
    """code and sentence as stored with the attempt. values: webhook.*, response_* and error_* of the catalogue
    for what follows in this call; empty when the webhook neither saves anything nor has a next one."""

    ok: bool
    code: str
    sentence: str
    values: dict[str, Value]


def read(spec: WebhookSpec, answer: Answer, always_values: bool = False) -> Reading:
    """Judges an answer by the success rule and extracts what the webhook saves. Never raises, whatever the answer is.

    always_values: of an answer that a call waits for.
    """
    ok, code, sentence = _judge(spec, answer)
    if not (always_values or spec.answer.save or spec.on_success or spec.on_failure):
        return Reading(ok, code, sentence, {})
    saved: dict[str, Value] = {}
    reason = "" if ok else describe(code).reason
    if ok:
        found = read_answer(spec.answer, answer.body)
        saved = found.values
        if found.problem:
            ok, code, reason = False, "check_failed", "MISSING_MANDATORY"
            sentence = _noted(
                say(
                    "The receiver answered %(status)s, but %(problem)s.",
                    status=answer.status_code,
                    problem=found.problem,
                ),
                answer,
            )
    seconds = (answer.total_us or 0) / 1e6
    answered = Answered(answer.status_code, answer.headers, answer.body, seconds, reason, "" if ok else sentence, saved)
    return Reading(ok, code, sentence, chain_values(answered))


def _judge(spec: WebhookSpec, answer: Answer) -> tuple[bool, str, str]:
    about_status = answer.outcome in ("ok", "gone") or answer.outcome.startswith("http_")
    if answer.status_code is None or not about_status:
        return False, answer.outcome, answer.message or describe(answer.outcome, answer.status_code).sentence
    verdict = judge(spec.success, answer.status_code, answer.body)
    return verdict.ok, verdict.code, _noted(verdict.sentence, answer)


def _noted(sentence: str, answer: Answer) -> str:
    """Adds what the sender noticed besides the status: a truncated answer, where a redirect leads."""
    return say("%(what)s %(more)s", what=sentence, more=answer.note) if answer.note else sentence
