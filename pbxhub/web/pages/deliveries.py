"""Every delivery of a project: the list with its filters, and one delivery with its attempts."""

from uuid import UUID

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from pbxhub.account.access import row_of
from pbxhub.account.content_removal import has_content
from pbxhub.account.deliveries import attempts_of, calls_of, count_newer, sent_since, webhook_names
from pbxhub.account.delivery_details import details_of
from pbxhub.account.names import names_of
from pbxhub.account.saved_filters import lost_values, saved_filters
from pbxhub.store.delivery_rows import Delivery
from pbxhub.web.delivery_filter import DeliveryFilter
from pbxhub.web.page_access import reading_project
from pbxhub.web.paging import read_uuid
from pbxhub.webhooks.curl_command import as_curl

pages = Blueprint("deliveries", __name__, url_prefix="/projects/<int:project_id>/deliveries")
_MOST_ATTEMPTS = 50


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """All deliveries, newest first."""
    with reading_project(project_id) as (session, access):
        wanted = DeliveryFilter.of_request(access)
        page, number = wanted.page(session, project_id), wanted.given.get("number", "")
        return render_template(
            "deliveries/index.html",
            page=page,
            wanted=wanted,
            names=names_of(session, project_id, calls_of(page.rows)),
            sending=sent_since(session, [row.delivery for row in page.rows], access.now),
            webhooks=webhook_names(session, access),
            choosing=access.may("content.remove"),
            removable=access.may("content.remove") and number != "" and has_content(session, access, number),
            saved=saved_filters(session, access, "deliveries"),
            lost=lost_values(session, access, wanted.given),
        )


@pages.get("/newer")
def newer(project_id: int) -> ResponseReturnValue:
    """How many deliveries of the list came after the one given, for the "show new" button."""
    since = read_uuid(request.args.get("since", ""))
    with reading_project(project_id) as (session, access):
        wanted = DeliveryFilter.of_request(access, unchecked=request.args.get("of") == "errors")
        count = count_newer(session, project_id, wanted.selection, wanted.state, since)
        return render_template("_newer.html", count=count)


@pages.get("/<uuid:delivery_id>")
def detail(project_id: int, delivery_id: UUID) -> ResponseReturnValue:
    """One delivery: the request, every attempt, what the receiver answered."""
    with reading_project(project_id) as (session, access):
        delivery = row_of(session, access, Delivery, delivery_id)
        found = details_of(session, access, delivery)
        template = "deliveries/_detail.html" if "HX-Request" in request.headers else "deliveries/detail.html"
        template = "deliveries/_drawer.html" if "drawer" in request.args else template
        return render_template(
            template,
            delivery=delivery,
            webhook=found.webhook,
            attempts=attempts_of(session, delivery, _MOST_ATTEMPTS),
            body=found.body,
            call=found.call,
            names=names_of(session, project_id, [found.call] if found.call else ()),
            sending=sent_since(session, [delivery], access.now),
            stage_event=found.stage_event,
            named=found.named,
            compared=found.compared,
            waits_for=found.waits_for,
            command=as_curl(
                found.request.method, found.request.url, found.request.headers, found.request.body, found.request.files
            ),
        )
