"""The webhooks of each project as publish and the workers need them: read once per revision, compiled once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import JSON, Engine, Row, bindparam, select, type_coerce
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from pbxhub.calls.stages import Value
from pbxhub.store.accounts import Project
from pbxhub.store.bulk import Query
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, has_touched_webhooks
from pbxhub.webhooks.matching import Matcher, compile_filters
from pbxhub.webhooks.request import CompiledRequest, NotSent, Request, compile_request
from pbxhub.webhooks.spec import SpecError, WebhookSpec, load_spec

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a user has set up, checked and compiled."""

    spec: WebhookSpec
    matcher: Matcher
    request: CompiledRequest


@dataclass(frozen=True, slots=True)
class LiveWebhook:
    """An enabled webhook.

    made: compiled; or a sentence when what is stored cannot be read: then nothing is sent and every delivery says so.
    spec: of made, an empty one beside a sentence.
    """

    id: int
    project_id: int
    revision: int
    name: str
    stage: str
    secret_sealed: str
    tls_key_sealed: str
    signing_sealed: str
    made: Settled | str
    spec: WebhookSpec

    def matches(self, values: Mapping[str, Value]) -> bool:
        return isinstance(self.made, str) or self.made.matcher.matches(values)

    def render(self, values: Mapping[str, Value], zone: tzinfo, country: str) -> Request | NotSent:
        if isinstance(self.made, str):
            return NotSent("render_error", self.made)
        try:
            return self.made.request.render(values, zone, country)
        except SQLAlchemyError:  # values are looked up when they are asked for: the database is away
            raise
        except Exception:  # a fault of ours must not take the stage from all other webhooks
            log.exception("a request could not be rendered", webhook=self.id)
            return NotSent("render_error", "Not sent: a fault of the hub while making the request; its log says more.")


@dataclass(frozen=True, slots=True)
class ProjectWebhooks:
    """A project with its enabled webhooks, in the order of the table. by_stage: of each stage; by_id; by_name: of those
    that users have set up."""

    id: int
    name: str
    zone: tzinfo
    country: str
    by_stage: Mapping[str, tuple[LiveWebhook, ...]]
    by_id: Mapping[int, LiveWebhook]
    by_name: Mapping[str, LiveWebhook]


class Directory:
    """One per database. A project is read again when its webhooks_revision has changed, and never otherwise.

    Only what is committed is kept. A transaction that has changed webhooks itself reads them anew: it may be rolled
    back, and then the next change gets the same revision. created_on tells a project from a deleted one: SQLite gives
    the same id again.
    """

    def __init__(self) -> None:
        self._projects: dict[int, tuple[tuple[int, datetime], ProjectWebhooks]] = {}

    @property
    def has_several(self) -> bool:
        """Whether more than one project has had something to send."""
        return len(self._projects) > 1

    def fetch(self, session: Session, project_ids: Iterable[int]) -> dict[int, ProjectWebhooks]:
        """The projects that exist among these, as this transaction sees them."""
        found = {}
        for project_id, revision, created_on in _REVISIONS.all(session, ids=sorted(set(project_ids))):
            if has_touched_webhooks(session, project_id):
                found[project_id] = _read(session, project_id)
                continue
            known = self._projects.get(project_id)
            if known is None or known[0] != (revision, created_on):
                known = self._projects[project_id] = ((revision, created_on), _read(session, project_id))
            found[project_id] = known[1]
        return found


_directories: WeakKeyDictionary[Engine, Directory] = WeakKeyDictionary()


def directory_of(database: Database) -> Directory:
    """The directory that everybody in this process shares for that database."""
    return _directories.setdefault(database.engine, Directory())


_REVISIONS = Query(
    select(Project.id, Project.webhooks_revision, Project.created_on).where(
        Project.id.in_(bindparam("ids", expanding=True))
    )
)
_COLUMNS = (
    Webhook.id, Webhook.kind, Webhook.project_id, Webhook.revision, Webhook.name, Webhook.stage, Webhook.secret_sealed,
    Webhook.tls_key_sealed, Webhook.signing_sealed, type_coerce(Webhook.spec, JSON).label("spec"),
)  # fmt: skip


def _read(session: Session, project_id: int) -> ProjectWebhooks:
    project = session.execute(select(Project).where(Project.id == project_id)).scalar_one()
    zone = _zone(project.time_zone)
    rows = session.execute(
        select(*_COLUMNS)
        .where(Webhook.project_id == project_id, Webhook.enabled, Webhook.deleted_on.is_(None))
        .order_by(Webhook.position, Webhook.id)
    ).all()
    webhooks = [_live(row, zone) for row in rows]
    by_stage: dict[str, list[LiveWebhook]] = {}
    for webhook in webhooks:
        by_stage.setdefault(webhook.stage, []).append(webhook)
    return ProjectWebhooks(
        project.id, project.name, zone, project.country,
        {stage: tuple(group) for stage, group in by_stage.items()},
        {webhook.id: webhook for webhook in webhooks},
        {row.name: webhook for row, webhook in reversed([*zip(rows, webhooks, strict=True)]) if row.kind == "event"},
    )  # fmt: skip


def _live(row: Row[Any], zone: tzinfo) -> LiveWebhook:
    made = _settle(row.spec, zone)
    spec = WebhookSpec() if isinstance(made, str) else made.spec
    return LiveWebhook(
        row.id,
        row.project_id,
        row.revision,
        row.name,
        row.stage,
        row.secret_sealed,
        row.tls_key_sealed,
        row.signing_sealed,
        made,
        spec,
    )


def _settle(stored: Any, zone: tzinfo) -> Settled | str:
    """One damaged webhook must not stop the others of the stage: it becomes a sentence."""
    try:
        spec = load_spec(stored)
        return Settled(spec, compile_filters(spec, zone), compile_request(spec))
    except SpecError as error:
        return f"what is stored of this webhook cannot be read: {error}; open it, correct it and save"


def _zone(name: str) -> tzinfo:
    """The project's time zone; UTC for a name that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError):
        return UTC
