"""Filters: whether a webhook is sent for this stage of this call.

All conditions must hold. A group is a condition too: of its own conditions all must hold, or any. What one condition
means: conditions.py.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pbxhub.calls.stages import Value
from pbxhub.translatable import say
from pbxhub.webhooks import params
from pbxhub.webhooks.conditions import Condition, WrongConditionError, compile_condition
from pbxhub.webhooks.spec import FieldError, Filter, SpecError, WebhookSpec
from pbxhub.webhooks.spec_json import join
from pbxhub.webhooks.working_time import ALWAYS, Calendar

Values = Mapping[str, Value]
MOST_FILTERS = 100
DEEPEST = 3  # groups inside each other


@dataclass(frozen=True, slots=True)
class Matcher:
    """Conditions, compiled: of one webhook, or of one group. every: all of them must hold; otherwise any."""

    conditions: tuple[tuple[str, Condition], ...]
    groups: "tuple[Matcher, ...]" = ()
    every: bool = True

    def matches(self, values: Values) -> bool:
        every = self.every
        for name, holds in self.conditions:
            value = values.get(name)
            if value is None:
                value = params.lookup(values, name)
            if holds(value) is not every:
                return not every
        return every if all(group.matches(values) is every for group in self.groups) else not every


@dataclass(frozen=True, slots=True)
class Preset:
    """Conditions that the editor adds in one click. without: stages where they would always or never hold."""

    name: str
    filters: tuple[Filter, ...]
    without: tuple[str, ...] = ()

    def stages(self) -> tuple[str, ...]:
        """The stages to whose webhooks it is offered: those that have its parameters."""
        others = (stage for stage in params.STAGES if stage not in self.without)
        return tuple(stage for stage in others if all(params.exists_at(item.parameter, stage) for item in self.filters))


@dataclass(frozen=True, slots=True)
class Matched:
    """How many of the examined calls match a webhook."""

    matched: int
    of: int


def compile_filters(spec: WebhookSpec, calendar: Calendar = ALWAYS) -> Matcher:
    """Compiles the filters of a webhook. calendar: of the project.

    Raises SpecError for an invalid filter.
    """
    if (count := sum(1 for _ in conditions_of(spec.filters))) > MOST_FILTERS:
        message = say("has %(count)s conditions; give at most %(most)s", count=count, most=MOST_FILTERS)
        raise SpecError([FieldError("filters", message)])
    errors: list[FieldError] = []
    matcher = _compile(spec.filters, True, "filters", calendar, errors)
    if errors:
        raise SpecError(errors)
    return matcher


def conditions_of(filters: Iterable[Filter], path: str = "filters") -> Iterator[tuple[str, Filter]]:
    """Every single condition with its path, those of groups too."""
    for index, item in enumerate(filters):
        own = f"{path}[{index}]"
        if item.is_group:
            yield from conditions_of(item.filters, f"{own}.filters")
        else:
            yield own, item


def _compile(
    filters: Sequence[Filter], every: bool, path: str, calendar: Calendar, errors: list[FieldError]
) -> Matcher:
    conditions, groups = [], []
    for index, item in enumerate(filters):
        own = f"{path}[{index}]"
        try:
            if item.is_group:
                _check_group(item, own)
                groups.append(_compile(item.filters, item.operator == "all", f"{own}.filters", calendar, errors))
            else:
                conditions.append(compile_condition(item, calendar))
        except WrongConditionError as wrong:
            errors.append(FieldError(join(own, wrong.field), wrong.message))
    return Matcher(tuple(conditions), tuple(groups), every)


def _check_group(item: Filter, path: str) -> None:
    if item.parameter or item.value or item.values:
        raise WrongConditionError("filters", say("a group has conditions and no parameter or value of its own"))
    if not item.filters:
        raise WrongConditionError("filters", say("is empty; add a condition or delete the group"))
    if path.count("filters[") > DEEPEST:
        raise WrongConditionError("filters", say("is nested deeper than %(deepest)s levels", deepest=DEEPEST))


def value_met(item: Filter, values: Values) -> Value:
    """The value that a condition compares; None when there is none, and for a group."""
    return params.lookup(values, params.canonical(item.parameter) or item.parameter)


def would_match(matcher: Matcher, calls: Iterable[Values]) -> Matched:
    """For the editor: how many of these stored calls pass the filters."""
    answers = [matcher.matches(values) for values in calls]
    return Matched(sum(answers), len(answers))


PRESETS = (
    Preset("missed", (Filter("is_missed", "equals", "true"),), without=("outgoing.after",)),
    Preset("unanswered", (Filter("is_answered", "equals", "false"),), without=("incoming.after",)),
    Preset("answered", (Filter("is_answered", "equals", "true"),)),
    Preset("longer_than", (Filter("billsec", "greater", "60"),)),
    Preset("outside_working_time", (Filter("calldate", "not_working_time"),)),
)
"""Missed are incoming calls only, as in the lists and reports (store/history.RESULTS): an event of outgoing calls is
offered "unanswered" instead. The user may change the seconds of longer_than."""
