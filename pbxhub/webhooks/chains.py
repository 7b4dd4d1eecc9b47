"""Chains: a webhook names the next webhook on success and on failure, or one whose answer it waits for.

Cycles of any length are refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pbxhub.translatable import say
from pbxhub.webhooks.catalogue import OTHER_STAGES, QUESTION
from pbxhub.webhooks.spec import FieldError, WebhookSpec
from pbxhub.webhooks.spec_json import wrong_at

LONGEST_CHAIN = 20
CHAIN_FIELDS = ("on_success", "on_failure", "wait_for")
"""The fields of a webhook that name another one."""


def names_in(spec: WebhookSpec) -> set[str]:
    """The webhooks that this one names."""
    return {getattr(spec, field) for field in CHAIN_FIELDS} - {""}


def with_names(spec: WebhookSpec, names: Mapping[str, str]) -> WebhookSpec:
    """The same webhook, naming others as they are called now. names: old -> new; others stay."""
    now = {field: names.get(getattr(spec, field), getattr(spec, field)) for field in CHAIN_FIELDS}
    return replace(spec, **now)


def loose_ends(spec: WebhookSpec, is_on: Mapping[str, bool]) -> Iterator[FieldError]:
    """What a webhook names although it is not there, or switched off. is_on: the webhooks of the project by name."""
    for field in CHAIN_FIELDS:
        target = getattr(spec, field)
        if target and target not in is_on:
            yield wrong_at(field, "names the webhook %(target)s, which does not exist", target=target)
        elif target and not is_on[target]:
            yield wrong_at(field, "names the webhook %(target)s, which is switched off", target=target)


def check_chains(specs: Mapping[str, WebhookSpec]) -> dict[str, list[FieldError]]:
    """Errors in the chains of a project's webhooks: webhook name -> errors."""
    errors = {name: [*_check_wait(name, specs), *_check_next(name, specs)] for name in specs}
    return {name: found for name, found in errors.items() if found}


def _check_next(name: str, specs: Mapping[str, WebhookSpec]) -> Iterator[FieldError]:
    for field in ("on_success", "on_failure"):
        target = getattr(specs[name], field)
        if not target:
            continue
        if target not in specs:
            yield wrong_at(field, "names the webhook %(target)s, which does not exist", target=target)
        elif cycle := _way_back(name, target, specs):
            yield wrong_at(field, "leads back to itself: %(way)s; a chain must have an end", way=" → ".join(cycle))
        elif _length(target, specs) >= LONGEST_CHAIN:
            yield wrong_at(field, "makes a chain longer than %(longest)s webhooks", longest=LONGEST_CHAIN)


def check_wait(stage: str, spec: WebhookSpec) -> list[FieldError]:
    """Whether a webhook of this stage can wait for an answer: only a call has other webhooks that were sent before."""
    if not spec.wait_for or stage not in (QUESTION, *OTHER_STAGES):
        return []
    return [wrong_at("wait_for", "only webhooks of calls can wait for an answer; clear this field")]


def _check_wait(name: str, specs: Mapping[str, WebhookSpec]) -> Iterator[FieldError]:
    awaited = specs[name].wait_for
    if awaited and awaited not in specs:
        yield wrong_at("wait_for", "names the webhook %(target)s, which does not exist", target=awaited)
    elif awaited and awaited in {name, *_after(name, specs)}:
        problem = say("%(target)s is sent after this webhook, so each would wait for the other", target=awaited)
        yield FieldError("wait_for", problem)


def _after(name: str, specs: Mapping[str, WebhookSpec]) -> set[str]:
    """Everything that is sent after a webhook, by chains or because it waits for an answer."""
    found, names = set[str](), {name}
    while names:
        waiting = {other for other, spec in specs.items() if spec.wait_for in names}
        names = (waiting | {target for one in names for target in _next(one, specs)}) - found
        found |= names
    return found


def _next(name: str, specs: Mapping[str, WebhookSpec]) -> list[str]:
    spec = specs[name]
    return [target for target in dict.fromkeys((spec.on_success, spec.on_failure)) if target in specs]


def _way_back(start: str, first: str, specs: Mapping[str, WebhookSpec]) -> list[str]:
    """The names along the cycle from start through first back to start; empty when there is no cycle."""
    came_from: dict[str, str] = {first: start}
    waiting = [first]
    while waiting:
        name = waiting.pop()
        if name == start:
            break
        for target in _next(name, specs):
            if target not in came_from:
                came_from[target] = name
                waiting.append(target)
    if start not in came_from:
        return []
    way = [start, came_from[start]]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1]


def _length(name: str, specs: Mapping[str, WebhookSpec]) -> int:
    """Number of webhooks in the longest chain that begins here. Stops counting when it is too long or has a cycle."""
    level, length = {name}, 0
    while level and length <= LONGEST_CHAIN:
        level = {target for member in level for target in _next(member, specs)}
        length += 1
    return length
