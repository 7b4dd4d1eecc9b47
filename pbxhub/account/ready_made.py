"""Webhooks that come ready-made: those of the gallery, and the Google Analytics event that every project has."""

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from itertools import chain, count

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.connections import save_connection
from pbxhub.account.crm_calls import make_address_with_set, set_with_address
from pbxhub.account.refusals import NotFoundError, Refusal
from pbxhub.account.webhook_drafts import Draft, live_webhooks, read_draft
from pbxhub.account.webhooks import change, create
from pbxhub.store.accounts import lock_project
from pbxhub.store.connections import connections_of
from pbxhub.store.webhooks import Webhook
from pbxhub.translatable import say
from pbxhub.webhooks.auth import origin_of
from pbxhub.webhooks.chains import with_names
from pbxhub.webhooks.connection_presets import filled_in, find_preset
from pbxhub.webhooks.connection_spec import dump_connection
from pbxhub.webhooks.gallery import Item, as_copied, default_event, fill
from pbxhub.webhooks.spec import FieldError, SpecError, dump_spec
from pbxhub.webhooks.spec_json import wrong_at

_MEASUREMENT_ID = re.compile(r"G-[A-Z0-9]{4,20}")
_LONGEST_SECRET = 200  # characters


@dataclass(frozen=True, slots=True)
class GoogleAnalytics:
    """What the locked event needs to know of a data stream."""

    measurement_id: str
    api_secret: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What the user fills in. values: for the [[brackets]]. secret: of the webhooks, or of the new connection.
    connection: the name of one that the project has; "" makes a new one. client_id: of the new one, if it is OAuth2.
    dial: the CRM may begin calls."""

    values: Mapping[str, str]
    secret: str = field(default="", repr=False)
    connection: str = ""
    client_id: str = ""
    dial: bool = False


def add_ready(session: Session, access: Access, item: Item, given: Answers) -> list[Webhook]:
    """The webhooks of a ready-made integration, switched off, under names that are free; several are one set. If it
    needs a connection, a new one is added with it. Raises SpecError; then nothing is added."""
    lock_project(session, access.project.id)  # or another request takes the name that is free now
    if given.dial:
        _check_dial(session, access, item)
    fill(item, {**given.values, "connection": item.name})  # what is missing is said before a connection is made
    ready_made = fill(item, {**given.values, "connection": _connection_for(session, access, item, given)})
    rows = live_webhooks(session, access)
    names = _free_names([ready.name for ready in ready_made], {row.name for row in rows})
    set_name = _free_names([item.name], {row.set_name for row in rows})[item.name] if len(ready_made) > 1 else ""
    specs = {names[ready.name]: with_names(ready.spec, names) for ready in ready_made}
    added: list[Webhook] = []
    for ready in ready_made:
        spec = specs[names[ready.name]]
        wanted = {"name": names[ready.name], "stage": ready.stage, "enabled": False, "set": set_name}
        secret = {"secret": given.secret} if spec.request.auth.has_secret else {}
        data = {**wanted, "spec": dump_spec(spec), **secret}
        added.append(create(session, access, read_draft(session, access, data, None, None, specs)))
    if given.dial:
        make_address_with_set(session, access, set_name, origin_of(added[0].spec.request.url))
    return added


def _check_dial(session: Session, access: Access, item: Item) -> None:
    """Raises SpecError when the CRM cannot begin calls, when this user may not make the address for them, or when
    another set has it: it would go with that one."""
    if not item.dial:
        raise SpecError([wrong_at("dial", "is for a CRM that begins calls; leave it out")])
    if not access.may("keys.change"):
        why = say("makes an address with a secret; that needs the role owner, or a key with the scope admin")
        raise SpecError([FieldError("dial", why)])
    if of_set := set_with_address(session, access):
        why = say("a project has one address for calls, and it belongs to the set %(name)s; leave it out", name=of_set)
        raise SpecError([FieldError("dial", why)])


def _connection_for(session: Session, access: Access, item: Item, given: Answers) -> str:
    """The name of the connection that the webhooks use; "" if they need none."""
    preset = find_preset(item.connection)
    if preset is None or given.connection:
        return given.connection
    spec = dump_connection(preset.spec)
    if preset.spec.oauth:
        spec["oauth"]["client_id"] = given.client_id.strip()
    taken = {row.name for row in connections_of(session, access.project.id)}
    data = {"name": _free_names([preset.name], taken)[preset.name], "spec": spec, "secret": given.secret}
    return save_connection(session, access, None, filled_in(preset, data, as_copied(item, given.values))).name


def _free_names(wanted: Iterable[str], taken: Set[str]) -> dict[str, str]:
    """The name in the file -> the name in the project."""
    names: dict[str, str] = {}
    for name in wanted:
        candidates = chain((name,), (f"{name} ({number})" for number in count(2)))
        names[name] = next(each for each in candidates if each not in taken and each not in names.values())
    return names


def set_up_google_analytics(
    session: Session, access: Access, webhook: Webhook, given: GoogleAnalytics
) -> list[Refusal]:
    """Sets up the locked event and switches it on, or says what is wrong. Raises NotFoundError for any other event."""
    if not webhook.locked:
        raise NotFoundError
    if refused := _refusals(given):
        return refused
    spec = fill(default_event(), {"measurement_id": given.measurement_id})[0].spec
    draft = Draft(webhook.name, webhook.stage, True, spec, given.api_secret)
    change(session, access, webhook, draft, "Google Analytics set up")
    return []


def _refusals(given: GoogleAnalytics) -> list[Refusal]:
    refused = []
    if not _MEASUREMENT_ID.fullmatch(given.measurement_id):
        wrong = say("This is not a measurement id.")
        refused.append(Refusal("measurement_id", wrong, say("Write it like G-ABC123DEF4.")))
    if not 1 <= len(given.api_secret) <= _LONGEST_SECRET or not given.api_secret.isprintable():
        refused.append(
            Refusal(
                "api_secret",
                say("This is not an API secret."),
                say("Copy it from the data stream: 1 to 200 characters."),
            )
        )
    return refused
