"""Failed deliveries of a project, for tests of the lists that show them and of what is done with all that match."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import insert, select

from pbxhub.store.accounts import Pbx
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import first_id_at
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec

NOON = datetime(2026, 7, 10, 12, 0, tzinfo=UTC)  # 15:00 in Kyiv, the zone of the project


@dataclass
class Failures:
    """Failed deliveries of a project, each of a call of its own, found by the name of its call."""

    database: Database
    project: int
    ids: dict[str, UUID] = field(default_factory=dict)
    webhook: int = 0
    pbx: int = 0

    def __post_init__(self) -> None:
        with self.database.write() as session:
            pbx = Pbx(project_id=self.project, name="p", host="h", username="u", secret_sealed="", created_on=NOON)
            hook = Webhook(project_id=self.project, name="W", stage="incoming.after", created_on=NOON,
                           spec=WebhookSpec(RequestSpec(url="https://example.com/")))  # fmt: skip
            session.add_all([pbx, hook])
            session.flush()
            self.pbx, self.webhook = pbx.id, hook.id

    def add(self, moment: datetime, *names: str, caller: str = "+380670000001", dst: str = "380441234567",
            outcome: str = "http_5xx", code: int | None = 500, state: str = "failed") -> None:  # fmt: skip
        start = len(self.ids)
        calls, events, rows = [], [], []
        for number, name in enumerate(names, start):
            same = UUID(int=first_id_at(moment).int + number)
            calls.append({"id": same, "project_id": self.project, "pbx_id": self.pbx, "linkedid": name, "dst": dst,
                          "direction": "incoming", "caller": caller, "caller_name": "", "extension": "",
                          "started_on": moment, "ended_on": moment, "disposition": "", "data": {},
                          "answers": {}})  # fmt: skip
            events.append({"id": same, "project_id": self.project, "call_id": same, "stage": "incoming.after",
                           "key": "", "ordinal": 1, "created_on": moment, "data": {}})  # fmt: skip
            rows.append({"id": same, "project_id": self.project, "webhook_id": self.webhook, "webhook_revision": 1,
                         "stage_event_id": same, "call_id": same, "stage": "incoming.after", "kind": "stage",
                         "state": state, "lane": 1,
                         "due_at": moment, "attempts": 1, "tries": 1, "held": False, "out_of_order": False,
                         "method": "POST", "url": "https://example.com/", "headers": [], "body": b"",
                         "outcome": outcome, "message": "", "status_code": code, "created_on": moment,
                         "finished_on": moment})  # fmt: skip
            self.ids[name] = same
        with self.database.write() as session:
            for table, values in ((Call, calls), (StageEvent, events), (Delivery, rows)):
                session.execute(insert(table), values)

    def unchecked(self) -> set[str]:
        with self.database.read() as session:
            left = set(session.scalars(select(Delivery.id).where(Delivery.checked_on.is_(None))))
        return {name for name, one in self.ids.items() if one in left}
