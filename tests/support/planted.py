"""A project full of secrets: one of its own in every place where users, receivers and programs leave theirs."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from pbxhub.store.accounts import Employee, Number, SavedFilter
from pbxhub.store.api import Resthook, Subscriber
from pbxhub.store.connections import Connection
from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.events import NewEvent, keep
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.notices import Notice, NoticeTarget
from pbxhub.store.ordered_calls import CHANNEL_PREFIX, OrderedCall
from pbxhub.store.questions import Question
from pbxhub.store.queue_pauses import QueuePause
from pbxhub.store.resends import Resend
from pbxhub.store.webhooks import Webhook, WebhookVersion
from pbxhub.webhooks.connection_spec import ConnectionSpec, Extra, OAuth
from pbxhub.webhooks.spec import Auth, Field, Filter, Parameter, RequestSpec, Steering, WebhookSpec
from tests.support.served import VAULT, Served


@dataclass
class Planted:
    """Markers, and the ids that routes are filled with, each a list."""

    always_hidden: list[str] = field(default_factory=list)  # also from those who may change webhooks
    hidden: list[str] = field(default_factory=list)  # from those who may not
    ids: dict[str, list[object]] = field(default_factory=dict)

    def secret(self) -> str:
        self.hidden.append(f"hush{len(self.hidden):02}zq")
        return self.hidden[-1]

    def always(self) -> str:
        self.always_hidden.append(f"shut{len(self.always_hidden):02}zq")
        return self.always_hidden[-1]


def plant(hub: Served) -> Planted:
    found = Planted()
    with hub.database.write() as session:
        _plant(hub, session, found)
    return found


def _urls(secret: Any) -> list[str]:
    return [
        f"https://api.telegram.org/bot123456:{secret()}/sendMessage",
        f"https://hooks.slack.com/services/T0/B0/{secret()}",
        f"https://discord.com/api/webhooks/1/{secret()}",
        f"https://shop.bitrix24.com/rest/1/{secret()}/crm.lead.add.json",
        f"https://hook.eu1.make.com/{secret()}",
        f"https://crm.example.com/in?token={secret()}&api_key={secret()}",
        f"https://{secret()}:{secret()}@crm.example.com/",
    ]


def _spec(planted: Planted, url: str, steering: bool = False) -> WebhookSpec:
    secret = planted.secret
    tree = (
        Parameter("password", value=secret()),
        Parameter("auth", "object", children=(Parameter("login", value=secret()), Parameter("deep", "array", children=(
            Parameter(value=secret()),)))),
        Parameter("note", value=f"see https://crm.example.com/?access_token={secret()}"),
        Parameter("greeting", value="hello"),
    )  # fmt: skip
    request = RequestSpec(
        url=url, headers=(Field("Authorization", f"Bearer {secret()}"), Field("X-Shop-Key", secret())),
        query=(Field("api_key", secret()),), parameters=tree, auth=Auth("basic", secret()),
    )  # fmt: skip
    return WebhookSpec(
        request, steering=Steering(reads="number", key="destination") if steering else None, filters=_filters(planted)
    )


def _filters(planted: Planted) -> tuple[Filter, ...]:
    link = "https://crm.example.com/?token="
    return (
        Filter("caller", "not_equals", f"{link}{planted.secret()}"),
        Filter("caller", "not_in", values=(f"{link}{planted.secret()}", "other")),
        Filter("caller", "not_equals"),
    )


def _raw(planted: Planted) -> WebhookSpec:
    secret = planted.secret
    text = f"<r><token>{secret()}</token><a secret='{secret()}'/></r>"
    return WebhookSpec(RequestSpec(url="https://crm.example.com/", format="raw", text=text,
                                   file=f'{{"api_key": "{secret()}"}}'.encode()))  # fmt: skip


def _connection(planted: Planted) -> ConnectionSpec:
    url = f"https://crm.example.com/%s?api_key={planted.secret()}"
    oauth = OAuth(
        authorize_url=url % "authorize", token_url=url % "token", client_id="ours",
        extra=(Extra("api_key", planted.secret()), Extra("client_secret", planted.secret()), Extra("prompt", "x")),
    )  # fmt: skip
    return ConnectionSpec("oauth2", ("crm.example.com",), test_url=url % "me", oauth=oauth)


def _plant(hub: Served, session: Session, planted: Planted) -> None:
    moment, own, secret = datetime.now(UTC), {"project_id": hub.project_id}, planted.secret
    specs = [_spec(planted, url) for url in _urls(secret)] + [_raw(planted)]
    webhooks = [Webhook(**own, name=f"CRM {n}", stage="incoming.after", spec=spec, created_on=moment, revision=2)
                for n, spec in enumerate(specs)]  # fmt: skip
    asked = Webhook(**own, name="Asked", stage="call.question", created_on=moment, revision=2,
                    spec=_spec(planted, f"https://crm.example.com/ask?token={secret()}", steering=True))  # fmt: skip
    webhooks.append(asked)
    session.add_all(webhooks)
    session.flush()
    for webhook in webhooks:
        for revision, spec in ((1, _spec(planted, f"https://crm.example.com/?token={secret()}")), (2, webhook.spec)):
            session.add(WebhookVersion(webhook_id=webhook.id, revision=revision, name=webhook.name, enabled=True,
                                       stage=webhook.stage, spec=spec, created_on=moment))  # fmt: skip
    data = {"token": secret(), "crm": {"session_token": secret(), "id": 5}, "legs": [],
            "custom": {"password": secret()},
            "link": f"https://crm.example.com/?key={secret()}"}  # fmt: skip
    calls = [Call(id=new_id(), **own, pbx_id=hub.pbx_id, linkedid=linkedid, direction="incoming", caller="1", dst="2",
                  started_on=moment, ended_on=ended, data=data)
             for linkedid, ended in (("1.1", moment), (f"{CHANNEL_PREFIX}x", None))]  # fmt: skip
    session.add_all(calls)
    session.flush()
    order = OrderedCall(
        id=new_id(), **own, pbx_id=hub.pbx_id, mobile_number="+380441234567", agent_id="101", created_on=moment,
        status="completed", call_id=calls[1].id, callback_url=f"https://crm.example.com/back?token={secret()}",
        callback_headers={"Authorization": planted.always()}, callback_params={"token": planted.always()},
        custom={"password": secret()}, transcript={"access_token": secret()}, analysis=f"Bearer {secret()}",
    )  # fmt: skip
    stages = [StageEvent(id=new_id(), **own, call_id=calls[0].id, stage=stage, key="", ordinal=1, created_on=moment,
                         data={"api_key": secret(), "crm": [{"secret": secret()}]})
              for stage in ("incoming.before", "incoming.after")]  # fmt: skip
    paused = QueuePause(id=new_id(), **own, pbx_id=hub.pbx_id, member="PJSIP/101", queue="support", paused=True,
                        reason="", created_on=moment)  # fmt: skip
    session.add_all([order, paused, *stages])
    session.flush()
    deliveries = _deliveries(planted, session, hub, webhooks, calls[0], stages)
    _events(planted, session, hub, deliveries)
    hook = Resthook(**own, name="new-lead", created_on=moment)
    employee, number = Employee(**own, extension="101"), Number(**own, pbx_id=hub.pbx_id, did="380445550100")
    resend = Resend(id=new_id(), **own, state="running", selection={"ids": []}, current_settings=False, rate=1, total=0,
                    queued=0, stepped_on=moment, created_on=moment)  # fmt: skip
    behind = Webhook(**own, name="Behind", stage="resthook", kind="resthook", created_on=moment,
                     spec=WebhookSpec(RequestSpec(url=f"https://a.example/?token={planted.always()}")))  # fmt: skip
    target = NoticeTarget(**own, address=f"https://crm.example.com/notice?token={planted.always()}")
    notice = Notice(id=new_id(), **own, webhook_id=webhooks[0].id, kind="paused", text="CRM is paused.",
                    created_on=moment, error="")  # fmt: skip
    connection = Connection(**own, name="CRM", spec=_connection(planted), created_on=moment,
                            secret_sealed=VAULT.seal(planted.always()))  # fmt: skip
    saved = SavedFilter(**own, page="calls", name="f", fields={"number": "1"}, created_on=moment)
    session.add_all([hook, employee, number, resend, behind, target, notice, connection, saved])
    session.flush()
    subscriber = Subscriber(resthook_id=hook.id, webhook_id=behind.id, created_on=moment,
                            target_url=f"https://crm.example.com/?token={secret()}")  # fmt: skip
    session.add(subscriber)
    session.flush()
    planted.ids = {
        "project_id": [hub.project_id], "pbx_id": [hub.pbx_id], "number_id": [number.id], "employee_id": [employee.id],
        "webhook_id": [row.id for row in webhooks], "revision": [1], "call_id": [calls[0].id, calls[1].id, order.id],
        "pause_id": [paused.id],
        "delivery_id": [row.id for row in deliveries], "resend_id": [resend.id], "name": [hook.name],
        "subscriber_id": [subscriber.id], "item_id": ["slack"], "which": ["deliveries", "errors"],
        "kind": ["csv", "jsonl"], "target_id": [target.id], "key_id": [1], "user_id": [1], "sign_in_id": [1],
        "connection_id": [connection.id], "kind_name": ["bearer"], "number": [3],
        "version": ["0"], "filename": ["app.css"], "token": ["x"],
        "filter_id": [saved.id],
    }  # fmt: skip


def _deliveries(
    planted: Planted, session: Session, hub: Served, webhooks: list[Webhook], call: Call, stages: list[StageEvent]
) -> list[Delivery]:
    """A good one, and failed ones with bodies of every format; each with an attempt and its answer."""
    secret, always, moment = planted.secret, planted.always, datetime.now(UTC)
    bodies = [
        json.dumps({"api_key": secret(), "auth": {"login": [secret()]}, "hello": "world"}).encode(),
        json.dumps({"api_key": secret(), "note": f"https://crm.example.com/?token={secret()}"}).encode(),
        f"a=1&password={secret()}".encode(), f"<r><token>{secret()}</token></r>".encode(),
        f'{{"token": "{secret()}", "cut'.encode(), f"Bearer {secret()}".encode(),
    ]  # fmt: skip
    rows = []
    for n, (body, url) in enumerate(zip(bodies, _urls(always), strict=False)):
        webhook = webhooks[0] if n < 2 else webhooks[n]
        rows.append(Delivery(
            id=new_id(), project_id=hub.project_id, webhook_id=webhook.id, webhook_revision=2, call_id=call.id,
            stage_event_id=stages[n % 2].id, state="failed" if n else "delivered", lane=1, due_at=moment, method="POST",
            url=url, body=body, created_on=moment, outcome="http_4xx" if n else "ok", status_code=403 if n else 200,
            message=f"The receiver answered 403: https://crm.example.com/?token={secret()}", attempts=1,
            headers=[["Authorization", f"Bearer {always()}"], ["X-Api-Key", always()],
                     ["Referer", f"https://crm.example.com/?token={always()}"]],
        ))  # fmt: skip
    session.add_all(rows)
    session.flush()
    for row in rows:
        session.add(Attempt(
            delivery_id=row.id, number=1, started_on=moment, finished_on=moment, outcome=row.outcome,
            status_code=row.status_code, message=f"redirected to https://crm.example.com/?token={secret()}",
            request_headers=[["Cookie", always()]],
            response_headers=[["Set-Cookie", always()], ["Location", f"https://crm.example.com/?token={always()}"]],
            response_body=json.dumps({"access_token": secret(), "ok": False}).encode(),
        ))  # fmt: skip
    session.add(Question(delivery_id=rows[1].id, line=1, steps=[{"step": "dial 101", "result": ""}]))
    return rows


def _events(planted: Planted, session: Session, hub: Served, deliveries: list[Delivery]) -> None:
    secret, moment = planted.secret, datetime.now(UTC)
    dump = f"POST /?token={secret()} HTTP/1.1\r\nAuthorization: Basic {secret()}\r\n\r\n" + json.dumps(
        {"pwd": secret()}
    )
    handed = [
        ("webhook_called", {"url": f"https://crm.example.com/?token={secret()}", "status": "success", "request": dump,
                            "response": f'{{"access_token": "{secret()}"}}', "status_code": 200}),
        ("resthook_called", {"resthook": "new-lead", "payload": {"api_key": secret(), "a": [{"secret": secret()}]}}),
        ("error", {"text": f"Bearer {secret()}", "extra": {"private_key": secret()}}),
    ]  # fmt: skip
    ours = [("webhook_called", {"delivery_id": str(row.id), "attempt": 1}) for row in deliveries]
    keep(session, [NewEvent(hub.project_id, kind, moment, data) for kind, data in (*handed, *ours)])
