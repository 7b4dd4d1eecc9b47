"""The routes of the pages, and one row of everything to fill their variables with."""

from datetime import timedelta
from uuid import uuid4

from flask import Flask
from sqlalchemy.orm import Session

from pbxhub.store.accounts import ApiKey, Employee, Number, Pbx, SavedFilter
from pbxhub.store.api import Resthook, Subscriber
from pbxhub.store.connections import Connection
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.notices import NoticeTarget
from pbxhub.store.sign_in_rows import Invitation
from pbxhub.store.webhooks import Webhook, WebhookVersion
from pbxhub.webhooks.connection_spec import ConnectionSpec
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.people import People


def one_of_everything(session: Session, people: People) -> dict[str, object]:
    project = people.project
    pbx = Pbx(project_id=project, name="p", host="h", username="u", secret_sealed="", created_on=now())
    session.add(pbx)
    session.flush()
    call = Call(id=new_id(), project_id=project, pbx_id=pbx.id, linkedid="1.1", direction="incoming", caller="1",
                dst="2", started_on=now(), ended_on=now())  # fmt: skip
    spec = WebhookSpec(RequestSpec(url="https://example.com/"))
    hook = Webhook(project_id=project, name="w", stage="incoming.after", spec=spec, created_on=now())
    employee = Employee(project_id=project, extension="101")
    number = Number(project_id=project, pbx_id=pbx.id, did="2")
    invitation = Invitation(project_id=project, email="new@example.com", role="viewer", created_on=now(),
                            expires_on=now() + timedelta(days=7))  # fmt: skip
    target = NoticeTarget(project_id=project, address="a@example.com")
    key = ApiKey(project_id=project, name="k", key_hash="0", prefix="p", scopes=["read"], created_on=now())
    session.add_all([call, hook, employee, number, key, target, invitation])
    session.flush()
    event = StageEvent(id=new_id(), project_id=project, call_id=call.id, stage="incoming.after", key="", ordinal=1,
                       created_on=now(), data={})  # fmt: skip
    session.add(event)
    session.flush()
    connection = Connection(project_id=project, name="c", spec=ConnectionSpec(hosts=("example.com",)), created_on=now())
    session.add(connection)
    resthook = Resthook(project_id=project, name="new-lead", created_on=now())
    session.add(resthook)
    session.flush()
    subscriber = Subscriber(resthook_id=resthook.id, webhook_id=hook.id, target_url="https://e.com/", created_on=now())
    session.add(subscriber)
    delivery = Delivery(id=new_id(), project_id=project, webhook_id=hook.id, webhook_revision=1, call_id=call.id,
                        stage_event_id=event.id, state="failed", lane=1, due_at=now(), method="POST",
                        url="https://example.com/", headers=[], body=b"", created_on=now())  # fmt: skip
    version = WebhookVersion(webhook_id=hook.id, revision=1, name="w", stage=hook.stage, enabled=True, spec=spec,
                             created_on=now())  # fmt: skip
    saved = SavedFilter(project_id=project, page="calls", name="f", fields={"number": "1"}, created_on=now())
    session.add_all([delivery, version, saved])
    session.flush()
    return {
        "project_id": project, "pbx_id": pbx.id, "call_id": call.id, "webhook_id": hook.id, "employee_id": employee.id,
        "number_id": number.id, "key_id": key.id, "delivery_id": delivery.id, "event_id": event.id,
        "target_id": target.id, "filter_id": saved.id,
        "invitation_id": invitation.id, "connection_id": connection.id, "kind_name": "bearer",
        "name": "new-lead", "subscriber_id": subscriber.id, "revision": 1, "user_id": 2,
        "resend_id": uuid4(), "which": "deliveries", "kind": "csv", "item_id": "slack", "sign_in_id": 1,
        "version": "0", "number": 4, "filename": "app.css", "token": "x",
    }  # fmt: skip


def page_routes(app: Flask, things: dict[str, object]) -> list[tuple[str, str, str]]:
    """Endpoint, method and path of every route."""
    adapter = app.url_map.bind("localhost")
    found = []
    for rule in app.url_map.iter_rules():
        path = adapter.build(rule.endpoint, {name: things[name] for name in rule.arguments if name in things})
        found += [(rule.endpoint, method, path) for method in sorted(rule.methods & {"GET", "POST"})]
    return found
