"""Reads the filters of the page Calls from a URL."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flask import request
from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.call_filter import CallFilter
from pbxhub.account.filter_values import DIRECTIONS, RECORDED, SECONDS
from pbxhub.account.saved_filters import CALL_FIELDS
from pbxhub.store.accounts import Employee
from pbxhub.store.history import RESULTS
from pbxhub.web.filter_fields import FieldReader
from pbxhub.web.language import _

DISPOSITIONS = ("ANSWERED", "NO ANSWER", "BUSY", "DECLINE", "FAILED", "NO-FORWARD", "PROPER", "REPEATED", "VOICEMAIL")
HIDDEN = ("employee", "did", "disposition", "talk_from", "talk_to", "recorded")
"""Those behind the button More filters."""


@dataclass(frozen=True, slots=True)
class CallListFilter:
    """What a list of calls shows. given: the fields that say something, as they were given, for links and the form."""

    selection: CallFilter
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether the filter excludes anything."""
        return bool(self.given)

    @property
    def hidden(self) -> int:
        """How many of the filters behind the button are given."""
        return sum(name in self.given for name in HIDDEN)


def calls_of_request(session: Session, access: Access) -> CallListFilter:
    """The filter in the address of the page. A value that is none ends the request with 400 and a sentence."""
    given = {name: text for name in CALL_FIELDS if (text := request.args.get(name, "").strip())}
    read = FieldReader(given)
    since, until = read.time_range(access.zone)
    employee = read.text("employee", _("Employee"))
    recorded = read.choice("recorded", _("Recording"), RECORDED)
    hint = _("Give whole seconds.")
    selection = CallFilter(
        number=read.text("number", _("Phone number")),
        direction=read.choice("direction", _("Direction"), DIRECTIONS),
        result=read.choice("result", _("Result"), RESULTS),
        disposition=read.text("disposition", _("How it ended")),
        since=since, until=until,
        extensions=(_extension(session, access, employee),) if employee else (),
        did=read.text("did", _("Called number")),
        least_talk=read.number("talk_from", _("Talk, from"), SECONDS, hint),
        most_talk=read.number("talk_to", _("Talk, to"), SECONDS, hint),
        recorded=recorded == "yes" if recorded else None,
    )  # fmt: skip
    return CallListFilter(selection, given)


def _extension(session: Session, access: Access, text: str) -> str:
    """An extension as it is; of a name on a card, the extension of that card."""
    named = select(Employee.extension).where(Employee.project_id == access.project.id, Employee.name == text)
    return session.scalar(named.order_by(Employee.extension).limit(1)) or text
