"""Builds the request for a waiting call from the webhook's name, and the plan from the webhook's answer: also which way
the call goes when the answer is late, is missing or makes no sense. What the dialplan is told: conversation.py."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.agi.wire import AgiCall
from pbxhub.calls.ami_headers import clean
from pbxhub.calls.charsets import charset_of, decode
from pbxhub.calls.stages import Value
from pbxhub.delivery.call_rows import CallNow, find_call
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox import Claimed
from pbxhub.delivery.outbox.render import render_delivery
from pbxhub.delivery.prepare import NoTokenError, Prepared, UnsendableError, prepare
from pbxhub.delivery.read_answer import Reading, read
from pbxhub.delivery.stage_values import Lookups, StageValues
from pbxhub.delivery.webhook_cache import LiveWebhook, ProjectWebhooks
from pbxhub.sending.exchange import Answer
from pbxhub.sending.outcomes import TOKEN_REFUSED, describe
from pbxhub.steering.actions import Dial
from pbxhub.steering.answer import Plan, RefusedPlan
from pbxhub.steering.number_rules import NUMBER, Rules
from pbxhub.store.accounts import Number, Pbx
from pbxhub.store.agi_tokens import AgiAddress
from pbxhub.store.delivery_rows import NewDelivery
from pbxhub.store.ids import new_id
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.call_control import plan_of, prefer_known, rules_of
from pbxhub.webhooks.catalogue import QUESTION
from pbxhub.webhooks.request import Request
from pbxhub.webhooks.spec import Steering


@dataclass(frozen=True, slots=True)
class Caller:
    """A waiting call. known: values collected while it waits, for the next question."""

    address: AgiAddress
    linkedid: str
    call: AgiCall
    known: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question ready to be sent. not_sent: why its request could not be built; prepared is None then."""

    claimed: Claimed
    prepared: Prepared | None
    not_sent: Answer | None
    steering: Steering
    rules: Rules


def put_together(context: DeliveryContext, caller: Caller, name: str, now: datetime) -> Asked | str:
    """The question, or the sentence why there is none. Blocks for a few milliseconds: it asks the database.

    Raises SQLAlchemy's DBAPIError when the database is unavailable, VaultError when a secret cannot be decrypted.
    """
    with context.database.read() as session:
        pbx = session.get(Pbx, caller.address.pbx_id)
        if pbx is None or not pbx.enabled or pbx.key != caller.address.key:
            return "The PBX of this FastAGI address does not exist in the hub or is switched off."
        call = find_call(session, pbx.id, caller.linkedid) or _unknown_call(session, pbx, caller, now)
        project = context.webhook_cache.fetch(session, {call.project_id})[call.project_id]
        webhook = project.by_name.get(name)
        if webhook is None or webhook.stage != QUESTION:
            return f"The project {project.name} has no enabled webhook {name!r} of the stage “call.question”."
        if session.scalar(select(Webhook.paused_on).where(Webhook.id == webhook.id)):
            return f"The webhook {name} is paused."
        values = _values(context, session, caller, project, call, now)
        if not webhook.matches(values):
            return f"The filters of the webhook {name} exclude this call."
        delivery = render_delivery(webhook, values, None if call.is_new else call.id, None, "question", now)
        knows = webhook.spec.steering is not None and webhook.spec.steering.known_first
        known = str(values.get("responsible") or "") if knows else ""
    return _asked(context, caller, project, webhook, delivery, now, known)


def _asked(
    context: DeliveryContext, caller: Caller, project: ProjectWebhooks, webhook: LiveWebhook,
    delivery: NewDelivery, now: datetime, known: str,
) -> Asked:  # fmt: skip
    """known: the extension whose employee the caller knows, or ""."""
    steering = webhook.spec.steering or Steering()
    claimed = Claimed(
        id=delivery.id, project_id=webhook.project_id, stage_event_id=None, call_id=delivery.call_id, sequence_id=None,
        kind="question", lane=delivery.lane, attempt=1, tries=0, outcome="", token=delivery.id, started_on=now,
        lease_until=now + timedelta(seconds=steering.wait), created_on=now,
        request=Request(delivery.method, delivery.url, delivery.headers, delivery.body), webhook=webhook,
    )  # fmt: skip
    own = frozenset(number for number in (caller.call.dnid, caller.call.extension) if number)
    rules = rules_of(steering, own, project.country)
    steering = prefer_known(steering, rules, known)
    if not delivery.method:
        return Asked(claimed, None, Answer(delivery.outcome, delivery.message), steering, rules)
    try:
        prepared = prepare(context.vault, claimed, now)
    except UnsendableError as error:
        return Asked(claimed, None, Answer("render_error", f"Not sent: {error}."), steering, rules)
    except NoTokenError as error:
        return Asked(claimed, None, Answer(TOKEN_REFUSED, str(error)), steering, rules)
    outgoing = replace(prepared.outgoing, pool=f"question:{webhook.id}", deadline=float(steering.wait))
    return Asked(claimed, replace(prepared, outgoing=outgoing), None, steering, rules)


def understand(asked: Asked, answer: Answer) -> tuple[Reading, Plan | None]:
    """Whether the webhook succeeded, and the plan in its answer; None when the plan cannot be carried out."""
    spec = asked.claimed.webhook.spec
    reading = read(spec, answer, always_values=True)
    if not reading.ok:
        return reading, None
    plan = plan_of(asked.steering, answer.body, asked.rules)
    if isinstance(plan, RefusedPlan):
        why = f"The answer's {plan}" if plan.path else plan.reason
        sentence = f"{describe('steering_refused').sentence} {why.removesuffix('.')}."
        return read(spec, replace(answer, outcome="steering_refused", message=sentence), always_values=True), None
    return reading, plan


def without_plan(asked: Asked) -> tuple[Dial, ...]:
    """What becomes of the call when the answer is late, failed or cannot be carried out: the default route of the
    webhook, or nothing, and the dialplan continues."""
    default = asked.steering.default
    assert not default or NUMBER.fullmatch(default)  # checked when it was saved
    return (Dial(default, asked.steering.ring),) if default else ()


def _unknown_call(session: Session, pbx: Pbx, caller: Caller, now: datetime) -> CallNow:
    """A call that the listener has not written to the database yet, with what AGI says about it."""
    call = caller.call
    routed = select(Number.project_id).where(Number.pbx_id == pbx.id, Number.did == (call.dnid or call.extension))
    project_id = session.scalar(routed) or pbx.project_id
    return CallNow(
        new_id(), project_id, pbx.id, caller.linkedid, True, direction="incoming", caller=call.caller,
        caller_name=clean(decode(call.caller_name, charset_of(pbx.charset, pbx.project.country))),
        dst=call.dnid or call.extension, started_on=now,
    )  # fmt: skip


def _values(
    context: DeliveryContext, session: Session, caller: Caller, project: ProjectWebhooks, call: CallNow, now: datetime
) -> StageValues:
    said = {"channel": caller.call.channel, "context": caller.call.context}
    reported = {**said, **call.data, **caller.known}
    return StageValues(reported, project, call, QUESTION, new_id(), Lookups(session), context.links, now)
