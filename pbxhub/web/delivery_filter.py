"""Reads the filters of a list of deliveries from a URL or a form into a selection of the outbox."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from flask import request
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.deliveries import Listed, listed
from pbxhub.account.filter_values import STATUSES, WEBHOOKS
from pbxhub.account.saved_filters import DELIVERY_FIELDS
from pbxhub.delivery.outbox import Selection
from pbxhub.sending.outcomes import OUTCOMES
from pbxhub.store.delivery_rows import STATES
from pbxhub.web.filter_fields import FieldReader
from pbxhub.web.language import _
from pbxhub.web.paging import Page, page_size, read_uuid, uuid_key
from pbxhub.webhooks.catalogue import STAGES


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """What a list of deliveries shows: the list, its bulk actions and its exports all ask `selection`.

    given: the fields that say something, as they were given, for links and forms. state: only this one, "" for all.
    hour: where the bar begins that was clicked.
    """

    selection: Selection
    given: Mapping[str, str] = field(default_factory=dict)
    state: str = ""
    hour: datetime | None = None

    @classmethod
    def of_request(cls, access: Access, unchecked: bool = False) -> "DeliveryFilter":
        """The filter in the address of the page."""
        return cls.of(request.args, access, unchecked)

    @classmethod
    def of(cls, fields: Mapping[str, str], access: Access, unchecked: bool = False) -> "DeliveryFilter":
        """The filter among the arguments of an address or the fields of a form. unchecked: of the error page.

        A value that is none ends the request with 400 and a sentence that names the field.
        """
        given = {name: text for name in DELIVERY_FIELDS if (text := fields.get(name, "").strip())}
        read, zone = FieldReader(given), access.zone
        hour, (since, until) = read.hour(), read.time_range(zone)
        call = read.text("call", _("Call id"))
        call_id = read_uuid(call)
        selection = Selection(
            webhook_id=read.number("webhook", _("Webhook"), WEBHOOKS, _("Choose one from the list.")),
            stage=read.choice("stage", _("Stage"), STAGES),
            outcome=read.choice("outcome", _("Reason"), OUTCOMES),
            status_code=read.number(
                "code", _("HTTP status code"), STATUSES, _("A number from 100 to 999, or 0: no answer.")
            ),
            number=read.text("number", _("Phone number")),
            country=access.project.country,
            call_id=call_id,
            linkedid="" if call_id else call,
            since=max((moment for moment in (since, hour) if moment), default=None),
            until=min((moment for moment in (until, hour and hour + timedelta(hours=1)) if moment), default=None),
            unchecked=unchecked,
        )
        return cls(selection, given, read.choice("state", _("Outcome"), STATES), hour)

    @property
    def active(self) -> bool:
        """Whether the filter excludes anything."""
        return bool(self.given)

    def page(self, session: Session, project_id: int) -> Page[Listed]:
        """One page of the list, newest first."""
        size = page_size()
        rows = listed(session, project_id, self.selection, self.state, uuid_key(), size + 1)
        return Page(rows[:size], str(rows[size - 1].delivery.id) if len(rows) > size else "")

    def shown_by(self, moment: datetime) -> Selection:
        """The failures that a page rendered at that moment has shown, without later ones."""
        return replace(self.selection, failed_by=moment)
