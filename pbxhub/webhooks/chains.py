"""Chains: a webhook names the one that goes next on success and on failure. No cycles, however long."""

from collections.abc import Mapping

from pbxhub.translatable import say
from pbxhub.webhooks.spec import FieldError, WebhookSpec

LONGEST_CHAIN = 20


def check_chains(specs: Mapping[str, WebhookSpec]) -> dict[str, list[FieldError]]:
    """What is wrong with the chains among the webhooks of a project: name of the webhook → its errors."""
    errors = {name: _check(name, specs) for name in specs}
    return {name: found for name, found in errors.items() if found}


def _check(name: str, specs: Mapping[str, WebhookSpec]) -> list[FieldError]:
    errors = []
    for field in ("on_success", "on_failure"):
        target = getattr(specs[name], field)
        if not target:
            continue
        if target not in specs:
            errors.append(FieldError(field, say("names the webhook %(target)s, which does not exist", target=target)))
        elif cycle := _way_back(name, target, specs):
            errors.append(
                FieldError(field, say("leads back to itself: %(way)s; a chain must end", way=" → ".join(cycle)))
            )
        elif _length(target, specs) >= LONGEST_CHAIN:
            errors.append(
                FieldError(field, say("makes a chain longer than %(longest)s webhooks", longest=LONGEST_CHAIN))
            )
    return errors


def _next(name: str, specs: Mapping[str, WebhookSpec]) -> list[str]:
    spec = specs[name]
    return [target for target in dict.fromkeys((spec.on_success, spec.on_failure)) if target in specs]


def _way_back(start: str, first: str, specs: Mapping[str, WebhookSpec]) -> list[str]:
    """The webhooks from start to start again by way of first; empty when there is no such way."""
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
    """Webhooks of the longest chain that begins here; stops counting where a chain is too long or has a cycle."""
    level, length = {name}, 0
    while level and length <= LONGEST_CHAIN:
        level = {target for member in level for target in _next(member, specs)}
        length += 1
    return length
