"""Every delivery of a project: the list with its filters, and one delivery with its attempts."""

from uuid import UUID

from flask import Blueprint, abort, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.sample_calls import values_of
from pbxhub.account.visible import visible_request, visible_values
from pbxhub.calls.stages import Value
from pbxhub.store.delivery_rows import DELIVERED, FAILED, Attempt, Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.webhooks import Webhook, WebhookVersion
from pbxhub.web.access import enter
from pbxhub.web.compare import Compared, compare
from pbxhub.web.deliveries import delivery_rows, newer_rows
from pbxhub.web.delivery_filter import DeliveryFilter
from pbxhub.web.paging import read_uuid
from pbxhub.webhooks.check import used_parameters
from pbxhub.webhooks.curl_command import as_curl
from pbxhub.webhooks.message import Request
from pbxhub.webhooks.params import lookup
from pbxhub.webhooks.spec import WebhookSpec
from pbxhub.wsgi.current import reading

pages = Blueprint("deliveries", __name__, url_prefix="/projects/<int:project_id>/deliveries")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """All deliveries, newest first."""
    with reading() as session:
        access = enter(session, project_id)
        wanted = DeliveryFilter.of_request(access.zone)
        return render_template(
            "deliveries/index.html",
            page=delivery_rows(session, access.project.id, wanted),
            wanted=wanted,
            webhooks=webhook_names(session, access),
        )


@pages.get("/newer")
def newer(project_id: int) -> ResponseReturnValue:
    """How many deliveries of the list came after the one given, for the "show new" button."""
    since = read_uuid(request.args.get("since", ""))
    with reading() as session:
        zone = enter(session, project_id).zone
        wanted = DeliveryFilter.of_request(zone, unchecked=request.args.get("of") == "errors")
        count = newer_rows(session, project_id, wanted, since)
        return render_template("_newer.html", count=count)


@pages.get("/<uuid:delivery_id>")
def detail(project_id: int, delivery_id: UUID) -> ResponseReturnValue:
    """One delivery: the request, every attempt, what the receiver answered."""
    with reading() as session:
        access = enter(session, project_id)
        delivery, webhook = delivery_of(session, access, delivery_id)
        attempts = session.scalars(
            select(Attempt).where(Attempt.delivery_id == delivery.id).order_by(Attempt.number.desc()).limit(50)
        ).all()
        call = session.get(Call, delivery.call_id) if delivery.call_id else None
        stage = session.get(StageEvent, delivery.stage_event_id) if delivery.stage_event_id else None
        sent = tuple((name, value) for name, value in delivery.headers)
        asked = visible_request(access, Request(delivery.method, delivery.url, sent, delivery.body))
        template = "deliveries/_detail.html" if "HX-Request" in request.headers else "deliveries/detail.html"
        return render_template(
            template,
            delivery=delivery,
            webhook=webhook,
            attempts=attempts,
            call=call,
            stage_event=stage,
            named=_named_values(
                session,
                access,
                _spec_then(session, delivery, webhook),
                stage,
                call,
                webhook.name if delivery.kind == "chain" else "",
            ),
            compared=_compared(session, access, delivery),
            command=as_curl(asked.method, asked.url, asked.headers, asked.body),
        )


def _named_values(
    session: Session, access: Access, spec: WebhookSpec, stage: StageEvent | None, call: Call | None, chained: str
) -> list[tuple[str, str, Value]]:
    """Where each parameter stands in the webhook, and the value it had: field, name, value.

    chained: the name of the webhook when it was sent as part of a chain.
    """
    if stage is None or call is None:
        return []
    values = values_of(session, access, stage, call, chained)
    found = [(path, name, lookup(values, name)) for path, name in used_parameters(spec)][:100]
    return [(path, name, visible_values(access, {name: value})[name]) for path, name, value in found]


def _spec_then(session: Session, delivery: Delivery, webhook: Webhook) -> WebhookSpec:
    """What the webhook was when this request was made from it."""
    version = session.get(WebhookVersion, (webhook.id, delivery.webhook_revision))
    return version.spec if version else webhook.spec


def _compared(session: Session, access: Access, delivery: Delivery) -> Compared | None:
    """A failed delivery beside the last good one of its webhook."""
    if delivery.state != FAILED:
        return None
    good = session.scalar(
        select(Delivery)
        .where(Delivery.webhook_id == delivery.webhook_id, Delivery.state == DELIVERED, Delivery.id < delivery.id)
        .order_by(Delivery.id.desc())
        .limit(1)
    )
    return compare(access, good, delivery) if good else None


def delivery_of(session: Session, access: Access, delivery_id: UUID) -> tuple[Delivery, Webhook]:
    """A delivery of the project with its webhook; 404 for anything else."""
    delivery = session.get(Delivery, delivery_id)
    if delivery is None or delivery.project_id != access.project.id:
        abort(404)
    return delivery, session.get_one(Webhook, delivery.webhook_id)


def webhook_names(session: Session, access: Access) -> list[tuple[int, str]]:
    """The webhooks to choose from in a filter, those of the past too while they have deliveries."""
    rows = session.execute(
        select(Webhook.id, Webhook.name).where(Webhook.project_id == access.project.id).order_by(Webhook.position)
    )
    return [(row.id, row.name) for row in rows]
