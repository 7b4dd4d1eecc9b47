"""Several people and programs do the same at the same moment: each gets an answer that he would get alone."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, func, select

from pbxhub.calls.stages import CallReport
from pbxhub.delivery.outbox import publish
from pbxhub.store.accounts import ApiKey, Employee, Membership, Number, Pbx, SavedFilter, User
from pbxhub.store.api import Resthook, Subscriber
from pbxhub.store.connections import Connection
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ordered_calls import DialPlan, OrderedCall
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, WebhookVersion
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec, dump_spec
from pbxhub.wsgi.current import now
from tests.support.outbox_world import context_of
from tests.support.people import Browser, People

AT_ONCE = 4
KEY = "pbx_key"
SPEC = dump_spec(WebhookSpec(RequestSpec(url="https://example.com/")))
FILE = {"format": "pbxhub-webhooks", "version": 1, "webhooks": [
    {"name": "imported", "stage": "incoming.after", "enabled": True, "spec": SPEC}]}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A request that some table takes one row of. path: with the ids of the world. form: a page, otherwise the API.
    each: every one makes a thing of its own. meanwhile: the status of the others while the first is at work."""

    table: Any
    method: str
    path: str
    data: dict[str, Any] = field(default_factory=dict)
    form: bool = False
    each: bool = False
    meanwhile: int = 0
    headers: dict[str, str] = field(default_factory=dict)


API = "/api/v1"
PROJECT = "/projects/{project}"
CASES = {
    "an event of a program": Case(
        StageEvent, "POST", f"{API}/events/in", {"stage": "form.sent", "key": "form-81", "fields": {"a": "b"}}
    ),
    "an event about a call": Case(
        StageEvent, "POST", f"{API}/events/in",
        {"stage": "deal.changed", "key": "deal-4", "call_id": "{call}", "fields": {"a": "b"}},
    ),
    "an analysis": Case(StageEvent, "PUT", f"{API}/calls/{{call}}/analysis", {"analysis": "well"}, each=True),
    "an employee by API": Case(Employee, "POST", f"{API}/employees", {"extension": "201", "name": "Ann"}),
    "an employee changed by API": Case(Employee, "PATCH", f"{API}/employees/{{employee}}", {"name": "Anna"}),
    "a saved filter": Case(
        SavedFilter, "POST", f"{API}/filters", {"page": "calls", "name": "Missed", "query": {"direction": "incoming"}}
    ),
    "a number by API": Case(Number, "POST", f"{API}/numbers", {"pbx_id": "{pbx}", "did": "380445550001"}),
    "a dial plan": Case(DialPlan, "PATCH", f"{API}/pbxs/{{pbx}}/dial-plan", {"ring_seconds": 20}),
    "a REST hook": Case(Resthook, "POST", f"{API}/resthooks", {"name": "new-deal"}),
    "a subscriber": Case(
        Subscriber, "POST", f"{API}/resthooks/new-lead/subscribers", {"target_url": "https://example.com/hook"}
    ),
    "a webhook by API": Case(
        Webhook, "POST", f"{API}/webhooks", {"name": "CRM", "stage": "incoming.after", "spec": SPEC}
    ),
    "a revision by API": Case(
        WebhookVersion, "PUT", f"{API}/webhooks/{{webhook}}",
        {"name": "edited", "stage": "incoming.after", "spec": SPEC},
    ),
    "an earlier revision by API": Case(
        WebhookVersion, "POST", f"{API}/webhooks/{{webhook}}/versions/1/restore", each=True
    ),
    "a webhook switched off by API": Case(
        WebhookVersion, "PUT", f"{API}/webhooks/{{webhook}}/enabled", {"enabled": False}
    ),
    "a connection by API": Case(
        Connection, "POST", f"{API}/connections",
        {"name": "CRM", "spec": {"kind": "bearer", "hosts": ["crm.example.com"]}, "secret": "k"},
    ),
    "an import by API": Case(Webhook, "POST", f"{API}/webhooks/import", FILE),
    "one of the gallery by API": Case(
        Webhook, "POST", f"{API}/gallery/slack", {"answers": {"path": "T00000000/B00000000/XXXXXXXX"}}, each=True
    ),
    "a call with an idempotency key": Case(
        OrderedCall, "POST", f"{API}/calls", {"mobile_number": "+380441234567", "agent_id": "101"},
        headers={"Idempotency-Key": "once"}, meanwhile=409,
    ),
    "a member": Case(User, "POST", f"{PROJECT}/members", {"email": "new@example.com", "role": "viewer"}, form=True),
    "a member who is known": Case(
        Membership, "POST", f"{PROJECT}/members", {"email": "stranger@example.com", "role": "viewer"}, form=True
    ),
    "an employee": Case(Employee, "POST", f"{PROJECT}/employees/new", {"extension": "205", "name": "Bob"}, form=True),
    "a number": Case(
        Number, "POST", f"{PROJECT}/numbers/new", {"pbx_id": "{pbx}", "did": "380445550002"}, form=True
    ),
    "a key": Case(ApiKey, "POST", f"{PROJECT}/keys", {"name": "CRM", "scopes": "read"}, form=True, each=True),
    "an earlier revision": Case(
        WebhookVersion, "POST", f"{PROJECT}/webhooks/{{webhook}}/restore/1", form=True, each=True
    ),
}  # fmt: skip
# these make nothing, or something that may be there any number of times and refers to nothing that may be only once
HARMLESS = {
    "account.change_project", "account.add_pbx", "account.change_pbx", "account.check_pbx", "account.change_number",
    "webhooks.rename", "webhooks.switch_together", "account.revoke_recording_links",
    "webhooks.order", "webhooks.sign", "webhooks.set_up", "webhooks.simulate", "webhooks.copy", "webhooks.hold",
    "webhooks.go_on", "webhooks.preview_draft", "webhooks.preview_one", "webhooks.test", "calls.transcript",
    "deliveries.send_one", "deliveries.checked", "deliveries.send", "events.hand_in", "resthooks.call",
    "resthooks.attach", "connections.save", "connections.check", "calls.pause_queue_member",
    "deliveries.remove",  # of two, the second finds nothing left
    "webhooks.replay", "calls.send",  # raced in tests/test_send_what_is_missing.py
}  # fmt: skip


@pytest.fixture
def world(app: Flask, database: Database, people: People) -> dict[str, Any]:
    moment = now()
    with database.write() as session:
        own = {"project_id": people.project}
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        session.add(ApiKey(**own, name="k", key_hash=digest, prefix="pbx_", created_on=moment,
                           scopes=["read", "write", "call", "admin"]))  # fmt: skip
        pbx = Pbx(**own, name="p", host="h", username="u", secret_sealed="", created_on=moment)
        spec = WebhookSpec(RequestSpec(url="https://example.com/"))
        hook = Webhook(**own, name="w", stage="form.sent", spec=spec, created_on=moment)
        employee = Employee(**own, extension="101")
        session.add_all([pbx, hook, employee, Employee(**own, extension="202")])
        session.add(Resthook(**own, name="new-lead", created_on=moment))
        session.flush()
        session.add(WebhookVersion(webhook_id=hook.id, revision=1, name="w", stage="form.sent", enabled=True,
                                   spec=spec, created_on=moment))  # fmt: skip
        ids = {"project": people.project, "pbx": pbx.id, "webhook": hook.id, "employee": employee.id}
    report = CallReport("1.1", "incoming", "1", "", "2", "", moment, None, moment, "ANSWERED", {}, ())
    publish(context_of(database), {ids["pbx"]: [report]}, moment)
    with database.read() as session:
        return ids | {"call": str(session.scalar(select(Call.id)))}


def filled(data: Any, world: dict[str, Any]) -> Any:
    if isinstance(data, dict):
        return {name: filled(value, world) for name, value in data.items()}
    return data.format(**world) if isinstance(data, str) else data


class Together:
    """Every thread stops before its first row for a table until all others are there: all have seen that it is not."""

    def __init__(self, database: Database, table: str) -> None:
        self._database, self._insert = database, f"insert into {table} "
        self._barrier = threading.Barrier(AT_ONCE)
        self._passed = threading.local()

    def __enter__(self) -> None:
        event.listen(self._database.engine, "before_cursor_execute", self._stop)

    def __exit__(self, *_: object) -> None:
        event.remove(self._database.engine, "before_cursor_execute", self._stop)

    def _stop(self, _c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: bool) -> None:
        if statement.lower().startswith(self._insert) and not getattr(self._passed, "by", False):
            self._passed.by = True
            with suppress(threading.BrokenBarrierError):  # the others wait for a lock: as good
                self._barrier.wait(0.3)


def rows(database: Database, table: Any) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def browsers(signed_in: Callable[[str], Browser]) -> list[Browser]:
    return [signed_in("owner") for _ in range(AT_ONCE)]


def test_everything_that_is_there_once(
    app: Flask, database: Database, world: dict[str, Any], browsers: list[Browser]
) -> None:
    app.testing = app.extensions["pbxhub.api"].testing = False  # as in the hub: what breaks is a 500

    def ask(case: Case, browser: Browser, headers: dict[str, str]) -> tuple[int, str]:
        path, data = filled(case.path, world), filled(case.data, world)
        if case.form:
            answer = browser.post(path, data)
        else:
            answer = browser.client.open(path, method=case.method, json=data, headers=headers | case.headers)
        return answer.status_code, answer.get_data(as_text=True)

    for name, case in CASES.items():
        before, headers = rows(database, case.table), {"X-API-KEY": KEY}
        if case.method in ("PUT", "PATCH"):
            found = browsers[0].client.get(filled(case.path, world), headers=headers)
            headers["If-Match"] = found.headers.get("ETag", "")
        with Together(database, case.table.__tablename__), ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(ask, [case] * AT_ONCE, browsers, [headers] * AT_ONCE))
        added = rows(database, case.table) - before
        later = ask(case, browsers[0], headers)
        statuses = Counter(status for status, _ in answers)
        assert max(statuses) < 500, (name, statuses)
        if case.each:
            assert set(statuses) == {later[0]}, (name, statuses)
        elif case.meanwhile:
            assert set(statuses) <= {case.meanwhile, later[0]}, (name, statuses)
        else:
            assert statuses[later[0]] >= AT_ONCE - 1, (name, statuses, later)
            assert case.form or Counter(answers)[later] >= AT_ONCE - 1, (name, answers, later)
        assert case.each or added <= 1, (name, statuses)


def test_every_route_of_the_api_that_makes_something_is_among_them(app: Flask) -> None:
    api = app.extensions["pbxhub.api"]
    urls = api.url_map.bind("localhost")
    ids = {"pbx": 1, "webhook": 1, "employee": 1, "call": "01890000-0000-7000-8000-000000000000"}
    raced = {
        urls.match(case.path.removeprefix(API).format(**ids), case.method)[0]
        for case in CASES.values()
        if not case.form
    }
    making = {rule.endpoint for rule in api.url_map.iter_rules() if rule.methods & {"POST", "PUT", "PATCH"}}
    assert making - raced - HARMLESS == set(), "race the new route here, or say that it makes nothing"
    assert HARMLESS - making == set()
