"""Exports webhooks to a JSON file, and plans an import: a dry run that says what would change.

Secrets are not part of a spec, so the file has none; the plan says for which webhooks they must be entered.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pbxhub.webhooks.auth import keeps_secret
from pbxhub.webhooks.chains import check_chains
from pbxhub.webhooks.check import check_name, check_set_name, check_stage, problems
from pbxhub.webhooks.connection_check import check_connection
from pbxhub.webhooks.connection_spec import ConnectionSpec
from pbxhub.webhooks.gallery import unfilled
from pbxhub.webhooks.spec import WebhookSpec
from pbxhub.webhooks.spec_json import FieldError, SpecError, join, json_schema, read_as, too_many, write, wrong_at

MOST_WEBHOOKS = 1000


@dataclass(frozen=True, slots=True)
class Exported:
    """One webhook of a file. set: name of the set that it belongs to, "" for none; None: in the one that it is in."""

    name: str
    stage: str
    spec: WebhookSpec
    enabled: bool = True
    set: str | None = None


@dataclass(frozen=True, slots=True)
class ExportedConnection:
    """A connection that webhooks of the file use, without its secret."""

    name: str
    spec: ConnectionSpec


@dataclass(frozen=True, slots=True)
class Bundle:
    """A file of webhooks. subscribers_left_out: how many subscribers of REST hooks the project had that are not in the
    file, because each program subscribes its own address."""

    webhooks: tuple[Exported, ...]
    connections: tuple[ExportedConnection, ...] = ()
    subscribers_left_out: int = 0
    format: Literal["pbxhub-webhooks"] = "pbxhub-webhooks"
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that an import would change. before or after is None when the field does not exist."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """How an import changes one webhook.

    needs_secret: the secret of its authentication or the private key of its certificate must be entered, because the
    project does not have it; or those of the connection that comes with the file.
    """

    kind: Literal["new", "changed", "same"]
    webhook: Exported
    differences: tuple[Difference, ...]
    needs_secret: bool


def export_webhooks(
    webhooks: Iterable[Exported], connections: Iterable[ExportedConnection] = (), subscribers_left_out: int = 0
) -> Any:
    """The file as JSON."""
    return write(Bundle(tuple(webhooks), tuple(connections), subscribers_left_out))


def schema() -> dict[str, Any]:
    """JSON Schema of the file."""
    return json_schema(Bundle)


def plan_import(
    data: Any, existing: Mapping[str, Exported], locked: Collection[str] = ()
) -> tuple[Change, ...]:  # fmt: skip
    """What importing the file would change, webhook by webhook. Changes nothing itself.

    existing: the project's webhooks by name; one of the same name is changed. locked: names that a file must not use.
    Raises SpecError with every error.
    """
    bundle = _named(_read(data))
    errors = _check(bundle, existing, locked)
    if errors:
        raise SpecError(errors)
    return tuple(_change(webhook, existing.get(webhook.name)) for webhook in bundle.webhooks)


def subscribers_left_out_of(data: Any) -> int:
    """How many subscribers of REST hooks the file lacks. Raises SpecError as plan_import."""
    return _read(data).subscribers_left_out


def connections_in(data: Any) -> tuple[ExportedConnection, ...]:
    """The connections of a file. Raises SpecError as plan_import, and for settings that are wrong."""
    found = _read(data).connections
    errors = [
        error
        for each in found
        for error in _below(f"connections.{each.name}", _name_errors(each.name) + check_connection(each.spec))
    ]
    if len({each.name for each in found}) < len(found):
        errors.append(wrong_at("connections", "has the same name twice"))
    if errors:
        raise SpecError(errors)
    return found


def _name_errors(name: str) -> list[FieldError]:
    if 0 < len(name) <= 200 and name == name.strip() and name.isprintable():
        return []
    return [wrong_at("name", "write one line of up to 200 characters")]


def _read(data: Any) -> Bundle:
    return read_as(Bundle, data, "spec", "request", "children")


def _named(bundle: Bundle) -> Bundle:
    """Removes white space around names, as saving does."""
    named = (replace(item, name=item.name.strip(), set=item.set and item.set.strip()) for item in bundle.webhooks)
    return replace(bundle, webhooks=tuple(named))


def _check(bundle: Bundle, existing: Mapping[str, Exported], locked: Collection[str]) -> list[FieldError]:
    count = len(bundle.webhooks)
    errors = list(too_many("webhooks", count, MOST_WEBHOOKS, "has %(count)s webhooks; import at most %(most)s at once"))
    if errors:
        return errors
    seen: set[str] = set()
    for index, webhook in enumerate(bundle.webhooks):
        path = f"webhooks.{webhook.name}" if webhook.name else f"webhooks[{index}]"
        if webhook.name in seen:
            errors.append(wrong_at(join(path, "name"), "occurs twice in the file"))
        if webhook.name in locked:
            errors.append(wrong_at(join(path, "name"), "is the name of the locked event; use another name"))
        seen.add(webhook.name)
        named = check_name(webhook.name, webhook.stage) + check_stage(webhook.stage) + check_set_name(webhook.set or "")
        errors += _below(path, named + problems(webhook.spec))
        errors += _below(path, unfilled(webhook.spec)) if webhook.enabled else []
    specs = {name: webhook.spec for name, webhook in existing.items()} | {
        item.name: item.spec for item in bundle.webhooks
    }
    for name, found in check_chains(specs).items():
        errors += _below(f"webhooks.{name}", found) if name in seen else []
    return errors


def _below(path: str, errors: list[FieldError]) -> list[FieldError]:
    return [FieldError(join(path, error.path) if error.path else path, error.message) for error in errors]


def _change(webhook: Exported, before: Exported | None) -> Change:
    request = webhook.spec.request
    if before is None:
        return Change("new", webhook, (), request.auth.has_secret or bool(request.tls_certificate))
    needs_secret = request.auth.has_secret and not keeps_secret(before.spec.request, request)
    needs_secret |= bool(request.tls_certificate) and request.tls_certificate != before.spec.request.tls_certificate
    if webhook.set is None:  # as in files of 0.1.0, which had no sets
        webhook = replace(webhook, set=before.set)
    old, new = dict(leaves(write(before), "")), dict(leaves(write(webhook), ""))
    paths = [path for path in dict.fromkeys((*old, *new)) if old.get(path) != new.get(path)]
    differences = tuple(Difference(path, old.get(path), new.get(path)) for path in paths)
    return Change("changed" if differences else "same", webhook, differences, needs_secret)


def leaves(data: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Nested JSON as path and leaf: `request.headers[0].name`, `X-Key`."""
    if isinstance(data, dict):
        for name, item in data.items():
            yield from leaves(item, join(path, name))
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, data
