"""A small account for tests of the outbox: a project, a PBX, webhooks, and reports as the tracker makes them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.calls.stages import CallReport, Stage, Value
from pbxhub.delivery.context import DeliveryContext, PauseRule
from pbxhub.delivery.handoff import Handoff
from pbxhub.delivery.last_look import LastLook, OldestLease
from pbxhub.delivery.links import Links
from pbxhub.delivery.outbox import AttemptResult, Batch, Claimed, Finished, Published, claim, claim_new, publish, record
from pbxhub.delivery.outbox.attempt_result import given_up
from pbxhub.delivery.prune import Retention
from pbxhub.delivery.wakeup import Wakeups
from pbxhub.delivery.webhook_cache import WebhookCache
from pbxhub.sending.exchange import Answer
from pbxhub.store.accounts import Pbx, Project
from pbxhub.store.delivery_rows import Attempt, Delivery, NewDelivery
from pbxhub.store.notices import NoticeTarget
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.vault import Vault
from pbxhub.webhooks.spec import Limits, Parameter, RequestSpec, Retry, WebhookSpec

NOON = datetime(2026, 5, 14, 12, 0, tzinfo=UTC)
VAULT = Vault(b"k" * 32)
KEPT = Retention(*(timedelta(days=days) for days in (30, 90, 365, 7)))
BEFORE, FORWARD, PICKUP, AFTER = "incoming.before", "incoming.forward", "incoming.pickup", "incoming.after"


def at(seconds: float) -> datetime:
    """That many seconds after NOON."""
    return NOON + timedelta(seconds=seconds)


def spec(
    url: str = "http://127.0.0.1:9/hook",
    retry: Retry | None = None,
    in_flight: int = 8,
    deadline: int = 10,
    **more: Any,
) -> WebhookSpec:
    """A webhook that posts a few values as JSON."""
    names = ("event", "call_id", "caller", "forward_to")
    parameters = tuple(Parameter(name, value=f"<<{name}>>") for name in names)
    request = more.pop("request", RequestSpec(url=url, parameters=parameters))
    return WebhookSpec(request=request, retry=retry or Retry(), limits=Limits(in_flight, deadline), **more)


@dataclass
class World:
    """One project with one PBX."""

    database: Database
    project_id: int = 0
    pbx_id: int = 0
    webhooks: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        with self.database.write() as session:
            project = Project(name="Flower shop", time_zone="Europe/Kyiv", country="UA", created_on=NOON)
            session.add(project)
            session.flush()
            pbx = Pbx(
                project_id=project.id,
                name="office",
                host="127.0.0.1",
                username="hub",
                secret_sealed="",
                created_on=NOON,
            )
            session.add(pbx)
            session.flush()
            self.project_id, self.pbx_id = project.id, pbx.id

    def webhook(self, stage: str = BEFORE, what: WebhookSpec | None = None, **columns: Any) -> int:
        """Adds a webhook and returns its id."""
        with self.database.write() as session:
            name = columns.pop("name", f"webhook {len(self.webhooks)}")
            row = Webhook(
                project_id=self.project_id, name=name, stage=stage, spec=what or spec(), created_on=NOON,
                position=len(self.webhooks), **columns,
            )  # fmt: skip
            session.add(row)
            touch_webhooks(session, self.project_id)
            session.flush()
            self.webhooks.append(row.id)
            return row.id

    def publish(self, *reports: CallReport, now: datetime = NOON) -> Published:
        """What the tracker of this PBX reports is written and queued."""
        return publish(context_of(self.database), {self.pbx_id: list(reports)}, now)

    def deliveries(self, *where: Any) -> list[Delivery]:
        with self.database.read() as session:
            return list(session.scalars(select(Delivery).where(*where).order_by(Delivery.id)))

    def attempts(self, delivery: Delivery) -> list[Attempt]:
        with self.database.read() as session:
            query = select(Attempt).where(Attempt.delivery_id == delivery.id).order_by(Attempt.number)
            return list(session.scalars(query))


def report(
    linkedid: str, *stages: str | Stage, values: Mapping[str, Value] | None = None, ended: float | None = None,
    **columns: Any,
) -> CallReport:  # fmt: skip
    """What the tracker says of an incoming call: the stages that just fired, by name or in full."""
    made = tuple(stage if isinstance(stage, Stage) else Stage(stage, "", 1, NOON, values or {}) for stage in stages)
    told = {
        "direction": "incoming", "caller": "+380441234567", "caller_name": "Anna", "dst": "380445556677",
        "extension": "", "started_on": NOON, "answered_on": None,
        "ended_on": None if ended is None else at(ended), "disposition": "", "memory": {"open": True},
    }  # fmt: skip
    return CallReport(linkedid=linkedid, values=values or {}, stages=made, **(told | columns))


def forward(to: str, step: int = 1) -> Stage:
    return Stage(FORWARD, f"{step}:{to}", step, at(step), {"forward_to": to, "forward_step": step})


OK = Answer("ok", "", 200, body=b"ok", total_us=1500)
BUSY = Answer("http_5xx", "", 503)
LINKS = Links(VAULT, "https://pbx.example.com")


@lru_cache(maxsize=20)
def _kept(database: Database) -> dict[str, Any]:
    return {
        "links": LINKS, "webhook_cache": WebhookCache(), "wakeups": Wakeups(), "handoff": Handoff(),
        "last_look": LastLook(), "oldest_lease": OldestLease(),
    }  # fmt: skip


def context_of(database: Database, **changes: Any) -> DeliveryContext:
    """What publish, claim and record work with in one process: the same cache each time."""
    return DeliveryContext(database, VAULT, **{**_kept(database), **changes})


def take(
    database: Database, seconds: float, limit: int = 100, rooms: Mapping[int, int] | None = None, chance: float = 0.0
) -> Batch:
    """A claim that many seconds after NOON. chance: rounds the share of each lane, 0.0 down and 0.99 up."""
    with database.write() as session:
        return claim(context_of(database), session, limit, at(seconds), rooms, chance=lambda: chance)


@dataclass
class Sender:
    """A worker that new deliveries are handed to, by the clock of the test. It sends nothing."""

    database: Database
    seconds: float = 0  # after NOON
    limit: int = 100
    rooms: Mapping[int, int] = field(default_factory=dict)
    without: Collection[int] = ()
    sent: list[Claimed] = field(default_factory=list)

    def claim_new(self, session: Session, new: Sequence[NewDelivery]) -> Sequence[Claimed]:
        context, now = context_of(self.database), at(self.seconds)
        return claim_new(context, session, new, self.limit, now, self.rooms, without=self.without)

    def send_new(self, claimed: Sequence[Claimed]) -> None:
        self.sent += claimed


def give_up(database: Database, batch: Batch, seconds: float, rule: PauseRule | None = None) -> list[AttemptResult]:
    """Records what a claim has given up that many seconds after NOON."""
    done = [given_up(one, at(seconds)) for one in batch.given_up]
    with database.write() as session:
        return record(context_of(database, pause_rule=rule or PauseRule()), session, done, at(seconds))


def finish(
    database: Database, claimed: Sequence[Claimed], answer: Answer, seconds: float, rule: PauseRule | None = None
) -> list[AttemptResult]:
    """Records the same answer for all of them that many seconds after NOON, without jitter."""
    done = [Finished(one, answer, (), at(seconds)) for one in claimed]
    with database.write() as session:
        return record(context_of(database, pause_rule=rule or PauseRule()), session, done, at(seconds), lambda: 0.5)


def sick(database: Database, *addresses: str) -> World:
    """A world whose webhook has just failed for the first time."""
    world = World(database)
    world.webhook(name="CRM\r\nBcc: x@example.com")
    with database.write() as session:
        session.add_all(NoticeTarget(project_id=world.project_id, address=address) for address in addresses)
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, BUSY, 1)
    return world
