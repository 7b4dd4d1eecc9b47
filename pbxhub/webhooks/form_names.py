"""Finds form names that overwrite each other at a receiver: a and a[b], or an object and the same name by hand.

The same name twice at one level is meant: user[] for PHP, user for others, sends a list.
"""

import re
from collections.abc import Iterator

from pbxhub.translatable import say
from pbxhub.webhooks.spec import Parameter
from pbxhub.webhooks.spec_json import FieldError, join

_BRACED = re.compile(r"\{\{(.+)\}\}", re.DOTALL)
_BRACKETS = re.compile(r"\[([^\]]*)\]")
Steps = tuple[str, ...]


def clashing_names(parameters: tuple[Parameter, ...], top: str) -> Iterator[FieldError]:
    """Errors for names that occur at two levels or are the beginning of another name."""
    values: dict[Steps, str] = {}
    levels: dict[Steps, str] = {}
    groups: dict[Steps, str] = {}
    for path, name, level in _sent_names(parameters, "", "parameters", top == "array"):
        steps = _steps(name)
        above = [steps[:length] for length in range(1, len(steps))]
        same = values.get(steps) if levels.setdefault(steps, level) != level else None
        met = [known for known in (*(values.get(part) for part in above), same, groups.get(steps)) if known]
        if met:
            text = say(
                "is sent as %(name)s beside %(value)s; a receiver keeps only one of them: rename it",
                name=name,
                value=met[0],
            )
            yield FieldError(path, text)
        values.setdefault(steps, name)
        for part in above:
            groups.setdefault(part, name)


def _sent_names(
    parameters: tuple[Parameter, ...], prefix: str, path: str, is_array: bool
) -> Iterator[tuple[str, str, str]]:  # fmt: skip
    """Path, full name and the name above it of every value in the tree, as encoders.leaves_of writes them."""
    for index, item in enumerate(parameters):
        step = str(index) if is_array else _BRACED.sub(r"\1", item.name)
        name = f"{prefix}[{step}]" if prefix else step
        own = join(path, f"[{index}]" if is_array or not item.name else step)
        if item.type in ("array", "object"):
            yield from _sent_names(item.children, name, own, item.type == "array")
        else:
            yield own, name, prefix


def _steps(name: str) -> Steps:
    """The steps of a[b][] as PHP, Rails and others read it; each [] is a new element."""
    first, bracket, rest = name.partition("[")
    return (first, *(step or name for step in _BRACKETS.findall(bracket + rest)))
