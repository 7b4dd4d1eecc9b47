"""A project that looks lived in: calls of a day, webhooks, deliveries that went well and badly."""

import random
import zlib
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Flask
from flask_security import hash_password
from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.sending.outcomes import describe
from pbxhub.store.accounts import COMMON_FOLDER, Employee, Membership, Number, Pbx, Project, User
from pbxhub.store.connections import Connection
from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.history import Call, CallEvents, StageEvent
from pbxhub.store.ids import first_id_at, new_id
from pbxhub.store.new_projects import add_project
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.pbx.recordings import FOLDER
from pbxhub.webhooks.connection_spec import ConnectionSpec
from pbxhub.webhooks.spec import Auth, Field, Filter, Parameter, RequestSpec, Retry, WebhookSpec
from pbxhub.wsgi.current import hub, now

EMAIL, PASSWORD = "anna@example.com", "correct horse battery"
_PEOPLE = (("101", "Ivan Sydorenko", "Sales"), ("102", "Olena Koval", "Sales"), ("103", "Petro Bondar", "Support"))


def fill(app: Flask, database: Database) -> int:
    """Makes the project and its owner; returns the project's id."""
    chance = random.Random(7)
    with app.app_context(), database.write() as session:
        project = Project(name="Flower shop", time_zone="Europe/Kyiv", country="UA", created_on=now())
        add_project(session, project)
        _people(session, project)
        pbx = _pbx(session, project)
        webhooks = [_webhook(session, project, *made) for made in enumerate(_WEBHOOKS, 1)]
        session.flush()
        for minutes in range(900, 0, -9):
            _call(session, project, pbx, webhooks, now() - timedelta(minutes=minutes), chance)
        for seconds in (8, 41):
            _call(session, project, pbx, [], now() - timedelta(seconds=seconds), chance, is_open=True)
        _told(session, pbx)
        crm = ConnectionSpec(hosts=("crm.example.com",))
        session.add(Connection(project_id=project.id, name="CRM", spec=crm, created_on=now()))
        return project.id


def _told(session: Session, pbx: Pbx) -> None:
    """The newest call is that of a recording, with its events; another one came in by a context nobody named."""
    text = (FOLDER / "answered.ami").read_text()
    linkedid = text.partition("Linkedid: ")[2].partition("\n")[0]
    newest = select(Call).where(Call.ended_on.is_not(None)).order_by(Call.started_on.desc()).limit(1)
    session.scalars(newest).one().linkedid = linkedid
    session.add(CallEvents(id=new_id(), pbx_id=pbx.id, linkedid=linkedid, recorded=zlib.compress(text.encode())))
    session.add(Call(id=new_id(), project_id=pbx.project_id, pbx_id=pbx.id, linkedid="1.1", direction="internal",
                     caller="+380671112233", dst="101", started_on=now() - timedelta(minutes=20), ended_on=now(),
                     data={"context": "ivr-in", "channel": "SIP/gsm-0000002a"}))  # fmt: skip


def _people(session: Session, project: Project) -> None:
    anna = User(
        email=EMAIL, name="Anna Melnyk", password=hash_password(PASSWORD), fs_uniquifier="anna", recovery_codes=[],
        operator=True, created_on=now(),
    )  # fmt: skip
    olena = User(email="olena@example.com", password="", fs_uniquifier="olena", recovery_codes=[], created_on=now())
    session.add_all([anna, olena])
    session.flush()
    for user, role in ((anna, "owner"), (olena, "editor")):
        session.add(Membership(project_id=project.id, user_id=user.id, role=role, created_on=now()))
    for extension, name, department in _PEOPLE:
        first = name.split()[0].lower()
        session.add(Employee(project_id=project.id, extension=extension, name=name, department=department,
                             endpoints=[extension, f"{first}-mobile"], email=f"{first}@example.com"))  # fmt: skip


def _pbx(session: Session, project: Project) -> Pbx:
    pbx = Pbx(
        project_id=project.id, name="Office", host="192.0.2.20", port=5038, username="pbxhub",
        any_network=True, cel_path="/var/log/asterisk/master.db", recordings=COMMON_FOLDER,
        secret_sealed=hub().vault.seal("secret"), state="connected", state_since=now() - timedelta(hours=15),
        seen_on=now() + timedelta(hours=1),  # as if a listener ran
        last_event_on=now(), events_last_minute=94, hub_address="192.0.2.10", asterisk_version="22.10.1",
        asterisk_started_on=now() - timedelta(days=9), created_on=now(),
    )  # fmt: skip
    session.add(pbx)
    session.flush()
    for did, label in (("380441234567", "Site, main page"), ("380441234568", "Google Ads")):
        session.add(Number(project_id=project.id, pbx_id=pbx.id, did=did, label=label))
    return pbx


_TAGS = (Parameter(value="call"), Parameter(value="<<disposition|lower>>"))
_LEAD = RequestSpec(
    url="https://crm.example.com/api/leads",
    headers=(Field("X-Source", "pbx"),),
    auth=Auth("bearer"),
    parameters=(
        Parameter("event", value="<<event>>"),
        Parameter(
            "contact",
            "object",
            children=(
                Parameter("phone", value="<<caller|e164>>"),
                Parameter("name", value="<<caller_name>>", empty="omit"),
                Parameter(
                    "tags", "array", children=(Parameter(value="call"), Parameter(value="<<disposition|lower>>"))
                ),
            ),
        ),
        Parameter("talk", "number", "<<billsec>>"),
        Parameter("started", value="<<calldate|iso>>"),
        Parameter("check", "md5", "<<caller>><<now|unix>>salt"),
    ),
)
_MISSED = (Filter("is_missed", "equals", "true"),)
_CHAT = RequestSpec(
    url="https://chat.example.com/hooks/T0/B0", parameters=(Parameter("text", value="Missed call <<caller>>"),)
)
_CARD = RequestSpec(
    "GET", "https://desk.example.com/popup", "form", parameters=(Parameter("phone", value="<<caller>>"),)
)
_ERP = RequestSpec(
    url="http://erp.example.com:8080/calls", format="xml", parameters=(Parameter("number", value="<<caller>>"),)
)
_WEBHOOKS = (
    ("Calls to the CRM", "incoming.after", WebhookSpec(_LEAD, retry=Retry("minutes")), "good"),
    ("Missed call → chat", "incoming.after", WebhookSpec(_CHAT, _MISSED), "mixed"),
    ("Card of the caller on the screen", "incoming.before", WebhookSpec(_CARD), "good"),
    ("Warehouse (old)", "incoming.after", WebhookSpec(_ERP), "bad"),
)


def _webhook(session: Session, project: Project, position: int, made: tuple[str, str, WebhookSpec, str]) -> Any:
    name, stage, spec, luck = made
    sealed = hub().vault.seal("token") if spec.request.auth.kind != "none" else ""
    webhook = Webhook(
        project_id=project.id, name=name, stage=stage, spec=spec, position=position, secret_sealed=sealed,
        created_on=now(),
    )  # fmt: skip
    session.add(webhook)
    return webhook, luck


def _call(
    session: Session,
    project: Project,
    pbx: Pbx,
    webhooks: list[Any],
    start: datetime,
    chance: random.Random,
    is_open: bool = False,
) -> None:
    answered = is_open or chance.random() < 0.72
    extension = chance.choice(_PEOPLE)[0] if answered else ""
    talk = chance.randint(12, 400)
    end = start + timedelta(seconds=8 + (talk if answered else 15))
    data: dict[str, Any] = {
        "caller": f"+38067{chance.randint(1000000, 9999999)}",
        "caller_name": chance.choice(["", "", "Anna Petrova", "Софія"]),
        "dst": chance.choice(["380441234567", "380441234568"]),
        "context": "from-trunk",
        "trunk": "trunk-1",
    }
    over = {
        "disposition": "ANSWERED" if answered else chance.choice(["NO ANSWER", "NO ANSWER", "BUSY"]),
        "billsec": talk if answered else 0,
        "waittime": 8,
        "hangup_by": "caller",
        "legs": [
            {"number": "101", "extension": extension or "101", "start": (start + timedelta(seconds=1)).isoformat(),
             "answer": (start + timedelta(seconds=8)).isoformat() if answered else None, "end": end.isoformat(),
             "ring": 7 if answered else int((end - start).total_seconds()) - 1,
             "status": "ANSWERED" if answered else "NO ANSWER"}
        ],
    }  # fmt: skip
    call = Call(
        id=new_id(), project_id=project.id, pbx_id=pbx.id, linkedid=f"{start.timestamp():.0f}.{chance.random()}",
        direction="incoming" if chance.random() < 0.8 or is_open else "outgoing", caller=data["caller"],
        caller_name=data["caller_name"], dst=data["dst"], extension=extension, started_on=start,
        answered_on=start + timedelta(seconds=8) if answered else None, ended_on=None if is_open else end,
        disposition="" if is_open else over["disposition"], data=data if is_open else {**data, **over},
        talk=None if is_open else over["billsec"], wait=None if is_open else 8 if answered else 21,
    )  # fmt: skip
    session.add(call)
    session.flush()
    steps = [("before", 0, {}), ("forward", 1, {"forward_kind": "ring", "forward_to": extension or "101"})]
    steps += [("pickup", 8, {"extension": extension})] if answered else []
    steps += [] if is_open else [("after", (end - start).total_seconds(), over)]
    for name, offset, more in steps:
        if call.direction == "outgoing" and name == "forward":
            continue
        event = StageEvent(
            id=new_id(), project_id=project.id, call_id=call.id, stage=f"{call.direction}.{name}", key="", ordinal=1,
            created_on=start + timedelta(seconds=offset), data={**data, **more},
        )  # fmt: skip
        session.add(event)
        session.flush()
        for webhook, luck in webhooks:
            if webhook.stage == event.stage and (not webhook.spec.filters or not answered):
                _delivery(session, project, webhook, luck, call, event, chance)


def _delivery(
    session: Session,
    project: Project,
    webhook: Webhook,
    luck: str,
    call: Call,
    event: StageEvent,
    chance: random.Random,
) -> None:
    roll = chance.random()
    good = luck == "good" or (luck == "mixed" and roll < 0.7)
    code, status = ("ok", 200) if good else ("connect_refused", None) if luck == "bad" else ("http_4xx", 401)
    made = event.created_on
    took = chance.randint(35, 400)
    then = UUID(int=first_id_at(made).int | (new_id().int & (1 << 80) - 1))  # lists find times by ids
    delivery = Delivery(
        id=then, project_id=project.id, webhook_id=webhook.id, webhook_revision=1, stage_event_id=event.id,
        call_id=call.id, state="delivered" if good else "failed", lane=1, due_at=made, attempts=1, tries=1,
        method=webhook.spec.request.method, url=webhook.spec.request.url,
        headers=[["Content-Type", "application/json"]],
        body=f'{{"event":"{event.stage}","contact":{{"phone":"{call.caller}"}}}}'.encode(), outcome=code,
        message=describe(code, status).sentence, status_code=status, duration_ms=took, created_on=made,
        finished_on=made + timedelta(milliseconds=took),
    )  # fmt: skip
    session.add(delivery)
    session.flush()
    session.add(
        Attempt(
            delivery_id=delivery.id, number=1, started_on=made, finished_on=delivery.finished_on, outcome=code,
            message=delivery.message, status_code=status, dns_us=1200, connect_us=4100,
            tls_us=9000 if "https" in delivery.url and status else None,
            first_byte_us=(took - 16) * 1000 if status else None, total_us=took * 1000,
            peer="198.51.100.7:443" if status else "", tls_version="TLSv1.3" if status else "",
            request_headers=[["webhook-id", str(delivery.id)], ["Authorization", "••••"]],
            response_headers=[["Content-Type", "application/json"], ["Server", "nginx"]] if status else [],
            response_body=b'{"ok":true,"id":4711}' if good else b'{"error":"invalid token"}' if status else b"",
        )
    )  # fmt: skip
