"""The webhooks of each project as publish and the workers need them: read once per revision, compiled when used."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import JSON, select, type_coerce
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from pbxhub.calls.stages import Value
from pbxhub.delivery.links import AS_LONG_AS_KEPT, LinkRule
from pbxhub.delivery.live_connections import LiveConnection, read_connections
from pbxhub.sending.address_guard import NetworkGrant, read_grant
from pbxhub.store.accounts import Project
from pbxhub.store.bulk import Query
from pbxhub.store.columns import one_of
from pbxhub.store.webhooks import Webhook, has_touched_webhooks
from pbxhub.webhooks.matching import Matcher, compile_filters, conditions_of
from pbxhub.webhooks.request import CompiledRequest, NotSent, Request, compile_request
from pbxhub.webhooks.spec import Filter, SpecError, WebhookSpec, load_spec
from pbxhub.webhooks.working_time import Calendar, calendar

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CompiledWebhook:
    """The settings of a webhook, checked and compiled. early: the filters that need no answer of another webhook."""

    spec: WebhookSpec
    matcher: Matcher
    early: Matcher
    request: CompiledRequest


class Stored:
    """The stored settings of a webhook, for the calendar of a project: checked and compiled once, on first use.

    A claim needs the limits of a hundred webhooks, in a transaction that others wait for: it must not compile them.
    """

    def __init__(self, raw: Any, times: Calendar) -> None:
        self.raw, self.times = raw, times

    @cached_property
    def _loaded(self) -> WebhookSpec | str:
        """Damaged settings become a sentence, so that they do not stop the other webhooks of the stage."""
        try:
            return load_spec(self.raw)
        except SpecError as error:
            return _unreadable(error)

    @cached_property
    def made(self) -> CompiledWebhook | str:
        if isinstance(self._loaded, str):
            return self._loaded
        try:
            matcher, early = (
                compile_filters(one, self.times) for one in (self._loaded, _without_answers(self._loaded))
            )
            return CompiledWebhook(self._loaded, matcher, early, compile_request(self._loaded))
        except SpecError as error:
            return _unreadable(error)

    @property
    def spec(self) -> WebhookSpec:
        return WebhookSpec() if isinstance(self._loaded, str) else self._loaded


def _without_answers(spec: WebhookSpec) -> WebhookSpec:
    if not spec.wait_for:
        return spec
    return replace(spec, filters=tuple(one for one in spec.filters if not _needs_answer(one)))


def _needs_answer(item: Filter) -> bool:
    """Of a group, whether one of its conditions does: the others alone may not decide it."""
    names = (condition.parameter for _path, condition in conditions_of((item,)))
    return any(name.startswith(("webhook.", "response_", "error_")) for name in names)


def _unreadable(error: SpecError) -> str:
    return f"the stored settings of this webhook cannot be read: {error}; open it, correct it and save"


@dataclass(frozen=True, slots=True)
class LiveWebhook:
    """An enabled webhook. connection: the one whose credentials its requests carry."""

    id: int
    project_id: int
    revision: int
    name: str
    stage: str
    secret_sealed: str
    tls_key_sealed: str
    signing_sealed: str
    stored: Stored
    networks: NetworkGrant = None
    connection: LiveConnection | None = None
    waits_after: int = 0  # how many webhooks have to answer one after the other before this one is sent
    is_awaited: bool = False  # another one may wait for its answer

    @property
    def leads_on(self) -> bool:
        """Whether another webhook of the call may be sent once this one is answered."""
        return bool(self.is_awaited or self.spec.on_success or self.spec.on_failure)

    @property
    def made(self) -> CompiledWebhook | str:
        """Compiled; or, for settings that cannot be read, the sentence that each delivery fails with."""
        return self.stored.made

    @property
    def spec(self) -> WebhookSpec:
        """An empty one if the stored settings cannot be read."""
        return self.stored.spec

    def matches(self, values: Mapping[str, Value]) -> bool:
        """Whether the filters accept a stage; those about an answer that is awaited come later: accepts_answer."""
        return isinstance(self.made, str) or self._asked(self.made.early, values)

    def accepts_answer(self, values: Mapping[str, Value]) -> bool:
        """All filters, once the answer is there that the webhook waits for."""
        return isinstance(self.made, str) or self._asked(self.made.matcher, values)

    def _asked(self, filters: Matcher, values: Mapping[str, Value]) -> bool:
        """False if the filters cannot be asked about these values."""
        try:
            return filters.matches(values)
        except SQLAlchemyError:  # a value is looked up in the database, which is away
            raise
        except Exception:  # a bug of the hub must stop neither the call nor the other webhooks of the stage
            log.exception("not sent: unexpected error in the filters", webhook=self.id)
            return False

    def render(self, values: Mapping[str, Value], zone: tzinfo, country: str) -> Request | NotSent:
        if isinstance(self.made, str):
            return NotSent("render_error", self.made)
        try:
            return self.made.request.render(values, zone, country)
        except SQLAlchemyError:  # a value is looked up in the database, which is away
            raise
        except Exception:  # a bug of the hub must not stop the other webhooks of the stage
            log.exception("request could not be rendered: unexpected error", webhook=self.id)
            return NotSent(
                "render_error", "Not sent: unexpected error while rendering the request. The hub's log has the details."
            )


@dataclass(frozen=True, slots=True)
class ProjectWebhooks:
    """A project with its enabled webhooks, in the order of the table. by_stage: of each stage; by_id; by_name: of those
    that users have set up. awaited: of each webhook that waits for an answer, those that lead to it.
    restored_on: Project.restored_on. recording_links: how links to its recordings are made."""

    id: int
    name: str
    zone: tzinfo
    country: str
    by_stage: Mapping[str, tuple[LiveWebhook, ...]]
    by_id: Mapping[int, LiveWebhook]
    by_name: Mapping[str, LiveWebhook]
    awaited: Mapping[int, frozenset[int]] = field(default_factory=dict)
    restored_on: datetime | None = None
    recording_links: LinkRule = AS_LONG_AS_KEPT


class WebhookCache:
    """One in each process for each database. A project is read again only after its webhooks_revision has changed.

    Only committed webhooks are kept. What would happen otherwise: 1. a transaction changes a webhook (revision 8), uses
    it, and is rolled back; 2. another one changes it in another way and commits: revision 8 again; 3. the cache has the
    webhook of step 1 under revision 8, for ever. So a transaction that has changed webhooks reads them itself, past the
    cache. created_on tells a project from a deleted one, because SQLite may give its id again.
    tests/test_keep_only_committed_webhooks.py
    """

    def __init__(self) -> None:
        self._projects: dict[int, tuple[tuple[int, datetime], ProjectWebhooks]] = {}

    @property
    def has_several(self) -> bool:
        """Whether more than one project has had something to send since the start."""
        return len(self._projects) > 1

    def fetch(self, session: Session, project_ids: Iterable[int]) -> dict[int, ProjectWebhooks]:
        """The projects that exist among these, as this transaction saw them when it first asked; what it has changed
        itself is read again."""
        wanted, seen = set(project_ids), _seen(session)
        if ask := [id_ for id_ in wanted if id_ not in seen or has_touched_webhooks(session, id_)]:
            seen |= self._fetch(session, ask)
            session.info[_SEEN] = session.get_transaction(), seen
        return {id_: seen[id_] for id_ in wanted if id_ in seen}

    def _fetch(self, session: Session, project_ids: Iterable[int]) -> dict[int, ProjectWebhooks]:
        rows = _REVISIONS.all(session, ids=sorted(project_ids))
        versions = {row.id: (row.webhooks_revision, row.created_on) for row in rows}
        own = {id_ for id_ in versions if has_touched_webhooks(session, id_)}
        known = {id_: self._projects[id_] for id_ in versions if id_ in self._projects}
        found = {id_: project for id_, (version, project) in known.items() if version == versions[id_]}
        missing = [id_ for id_ in versions if id_ in own or id_ not in found]
        if missing:
            read = _read(session, missing, [project for _, project in known.values()])
            self._projects |= {id_: (versions[id_], project) for id_, project in read.items() if id_ not in own}
            found |= read
        return found


_SEEN = "pbxhub_webhooks_seen"  # publishing a stage asks up to four times


def _seen(session: Session) -> dict[int, ProjectWebhooks]:
    """What fetch has found in this transaction."""
    transaction, seen = session.info.get(_SEEN, (None, {}))
    return seen if transaction is not None and transaction is session.get_transaction() else {}


_REVISIONS = Query(select(Project.id, Project.webhooks_revision, Project.created_on).where(one_of(Project.id, "ids")))
_PROJECTS = Query(
    select(
        Project.id,
        Project.name,
        Project.time_zone,
        Project.country,
        Project.webhook_networks,
        Project.restored_on,
        Project.working_hours,
        Project.holidays,
        Project.recording_link_days,
        Project.recording_link_series,
    ).where(one_of(Project.id, "ids"))
)
_WEBHOOKS = Query(
    select(
        Webhook.id, Webhook.kind, Webhook.project_id, Webhook.revision, Webhook.name, Webhook.stage,
        Webhook.secret_sealed, Webhook.tls_key_sealed, Webhook.signing_sealed, Webhook.connection_id,
        type_coerce(Webhook.spec, JSON).label("spec"),
    )
    .where(one_of(Webhook.project_id, "ids"), Webhook.enabled, Webhook.deleted_on.is_(None))
    .order_by(Webhook.project_id, Webhook.position, Webhook.id)
)  # fmt: skip


def _read(session: Session, project_ids: list[int], before: Iterable[ProjectWebhooks]) -> dict[int, ProjectWebhooks]:
    """before: as they were known; what has not changed since is not compiled again."""
    known = {webhook.id: webhook.stored for project in before for webhook in project.by_id.values()}
    session.flush()  # what its transaction has changed itself
    rows = _WEBHOOKS.all(session, ids=project_ids)
    connections = read_connections(session, {row.connection_id for row in rows if row.connection_id})
    of = {project_id: list(group) for project_id, group in groupby(rows, lambda row: row.project_id)}
    found = _PROJECTS.all(session, ids=project_ids)
    return {row.id: _project(row, of.get(row.id, ()), known, connections) for row in found}


def _project(
    project: Any, rows: Sequence[Any], known: Mapping[int, Stored], connections: Mapping[int, LiveConnection]
) -> ProjectWebhooks:
    zone, networks = _zone(project.time_zone), read_grant(project.webhook_networks)
    times = calendar(zone, project.working_hours, project.holidays)
    webhooks = [_live(row, times, known.get(row.id), networks, connections.get(row.connection_id or 0)) for row in rows]
    events = {row.name: webhook for row, webhook in zip(rows, webhooks, strict=True) if row.kind == "event"}
    awaited = _awaited(events)
    webhooks = [_marked(webhook, events, awaited) for webhook in webhooks] if awaited else webhooks
    by_stage: dict[str, list[LiveWebhook]] = {}
    for webhook in webhooks:
        by_stage.setdefault(webhook.stage, []).append(webhook)
    return ProjectWebhooks(
        project.id, project.name, zone, project.country,
        {stage: tuple(group) for stage, group in by_stage.items()},
        {webhook.id: webhook for webhook in webhooks},
        {row.name: webhook for row, webhook in reversed([*zip(rows, webhooks, strict=True)]) if row.kind == "event"},
        awaited, project.restored_on, LinkRule(project.recording_link_days, project.recording_link_series),
    )  # fmt: skip


def _awaited(events: Mapping[str, LiveWebhook]) -> dict[int, frozenset[int]]:
    """Of each webhook that waits for an answer: the one that it names, those before that one in its chains, and what
    these wait for themselves. *Finish* waits for *hide*, *hide* for *register*: a call in which nothing was hidden has
    no *hide*, and *finish* still needs the answer of *register*."""
    found = {}
    waiting = [one for one in events.values() if isinstance(one.stored.raw, dict) and one.stored.raw.get("wait_for")]
    for webhook in waiting:
        needed, names = set[int](), {webhook.spec.wait_for}
        while names:
            needed |= {events[name].id for name in names if name in events}
            before = {events[name].spec.wait_for for name in names if name in events}
            before |= {one.name for one in events.values() if names & {one.spec.on_success, one.spec.on_failure}}
            names = {name for name in before if name in events and events[name].id not in needed}
        found[webhook.id] = frozenset(needed - {webhook.id})
    return found


def _marked(
    webhook: LiveWebhook, events: Mapping[str, LiveWebhook], awaited: Mapping[int, frozenset[int]]
) -> LiveWebhook:
    depth = 0
    one: LiveWebhook | None = webhook
    while one and one.id in awaited and depth <= len(awaited):
        depth, one = depth + 1, events.get(one.spec.wait_for)
    is_awaited = any(webhook.id in needed for needed in awaited.values())
    return replace(webhook, waits_after=depth, is_awaited=is_awaited) if depth or is_awaited else webhook


def _live(
    row: Any, times: Calendar, before: Stored | None, networks: NetworkGrant, connection: LiveConnection | None
) -> LiveWebhook:
    same = before is not None and before.raw == row.spec and before.times == times
    return LiveWebhook(
        row.id, row.project_id, row.revision, row.name, row.stage, row.secret_sealed, row.tls_key_sealed,
        row.signing_sealed, before if before and same else Stored(row.spec, times), networks, connection,
    )  # fmt: skip


def _zone(name: str) -> tzinfo:
    """The project's time zone; UTC for a name that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError):
        return UTC
