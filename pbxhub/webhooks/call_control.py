"""Webhooks that the dialplan asks: validates one, and reads what its answer does with the call."""

from collections.abc import Iterator
from dataclasses import replace

from pbxhub.steering.answer import Plan, RefusedPlan, read_destination, read_plan
from pbxhub.steering.dialplan_text import NAME
from pbxhub.steering.number_rules import MOST_RULES, Rules, wrong_rules
from pbxhub.translatable import say
from pbxhub.webhooks.spec import FieldError, Steering, WebhookSpec
from pbxhub.webhooks.spec_json import too_many, wrong_at

LONGEST_WAIT, LONGEST_RING = 60, 600


def plan_of(steering: Steering, body: bytes, rules: Rules) -> Plan | RefusedPlan:
    """The plan in an answer, or why it is refused. Never raises, whatever the body contains."""
    if steering.reads == "variables":
        return Plan(())
    if steering.reads == "number":
        return read_destination(body, steering.key, rules, steering.ring)
    return read_plan(body, rules)


def rules_of(steering: Steering, own: frozenset[str] = frozenset(), country: str = "") -> Rules:
    """What the webhook's answers may do. own: the call's own numbers. country: of the project."""
    return Rules(steering.numbers, steering.contexts, own, country)


def prefer_known(steering: Steering, rules: Rules, known: str) -> Steering:
    """The steering of one call: its default route is the employee whom the caller knows, if the webhook wants that and
    may call them. known: the extension, or ""."""
    if steering.known_first and known and not rules.refuses(known):
        return replace(steering, default=known)
    return steering


def check_steering(spec: WebhookSpec) -> Iterator[FieldError]:
    """Errors in the part of a webhook that steers a call."""
    steering = spec.steering
    if steering is None:
        return
    wrong = list(_check_rules(steering))
    yield from wrong
    if not wrong and steering.default and (reason := rules_of(steering).refuses(steering.default)):
        yield wrong_at("steering.default", "%(reason)s; add it to them", reason=reason)
    yield from _check_rest(spec)


def _check_rules(steering: Steering) -> Iterator[FieldError]:
    for name, given, most in (("wait", steering.wait, LONGEST_WAIT), ("ring", steering.ring, LONGEST_RING)):
        if not 1 <= given <= most:
            yield wrong_at(f"steering.{name}", "is %(given)s; give 1 to %(most)s", given=given, most=most)
    yield from too_many("steering.numbers", len(steering.numbers), MOST_RULES, "has %(count)s; give at most %(most)s")
    for wrong in wrong_rules(steering.numbers[:MOST_RULES]):
        yield FieldError(f"steering.numbers[{wrong.index}]", wrong.text)
    for name in filter(None, (*steering.contexts, steering.music)):
        if not NAME.fullmatch(name):
            why = say("%(name)s is not a valid name; use Latin letters, digits, - and _", name=repr(name))
            yield FieldError("steering", why)


def _check_rest(spec: WebhookSpec) -> Iterator[FieldError]:
    if spec.retry.profile != "none":
        yield wrong_at("retry", "the call waits for the answer, so the webhook is sent once: choose no retries")
    if spec.on_success or spec.on_failure:
        yield wrong_at(
            "on_success", "a webhook that a call asks has no next event; its answer may name the next webhook"
        )
    if spec.limits.delay or spec.limits.per_minute:
        name = "limits.delay" if spec.limits.delay else "limits.per_minute"
        yield wrong_at(name, "the call waits for the answer, so the webhook is sent at once: give 0")
