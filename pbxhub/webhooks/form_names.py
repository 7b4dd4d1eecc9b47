"""Names of a form that a receiver would lay over each other: a and a[b], or an object and the same by hand."""

import re
from collections.abc import Iterator

from pbxhub.translatable import say
from pbxhub.webhooks.spec import Parameter
from pbxhub.webhooks.spec_json import FieldError, join

_BRACED = re.compile(r"\{\{(.+)\}\}", re.DOTALL)
_BRACKETS = re.compile(r"\[([^\]]*)\]")
Steps = tuple[str, ...]


def clashing_names(parameters: tuple[Parameter, ...], top: str) -> list[FieldError]:
    """What is sent under a name that is also the beginning of another one, or is there twice."""
    values: dict[Steps, str] = {}
    groups: dict[Steps, str] = {}
    errors = []
    for path, name in _sent_names(parameters, "", "parameters", top == "array"):
        steps = _steps(name)
        above = [steps[:length] for length in range(1, len(steps))]
        met = [
            known for known in (*(values.get(part) for part in above), values.get(steps), groups.get(steps)) if known
        ]
        if met:
            errors.append(
                FieldError(
                    path,
                    say(
                        "goes out as %(name)s beside %(value)s: a receiver keeps one of them; rename it",
                        name=name,
                        value=met[0],
                    ),
                )
            )
        values.setdefault(steps, name)
        for part in above:
            groups.setdefault(part, name)
    return errors


def _sent_names(
    parameters: tuple[Parameter, ...], prefix: str, path: str, is_array: bool
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """Path and full name of every value of the tree, as encoders.pairs_of writes it."""
    for index, item in enumerate(parameters):
        step = str(index) if is_array else _BRACED.sub(r"\1", item.name)
        name = f"{prefix}[{step}]" if prefix else step
        own = join(path, f"[{index}]" if is_array or not item.name else step)
        if item.type in ("array", "object"):
            yield from _sent_names(item.children, name, own, item.type == "array")
        else:
            yield own, name


def _steps(name: str) -> Steps:
    """a[b][] as PHP, Rails and others read it; each [] is a place of its own."""
    first, bracket, rest = name.partition("[")
    return (first, *(step or name for step in _BRACKETS.findall(bracket + rest)))
