"""The targets of a project's notices: e-mail addresses, and URLs that get them as JSON."""

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.email_addresses import normalised
from pbxhub.account.refusals import Refusal
from pbxhub.account.texts import one_line, refuse_address
from pbxhub.redaction import redact_url
from pbxhub.store.notices import NoticeTarget
from pbxhub.translatable import say

LONGEST = 2000  # characters


def add_alert(session: Session, access: Access, given: str) -> list[Refusal]:
    """Another address that gets the notices, or why not."""
    address = one_line({"address": given}, "address", LONGEST, needed=True)
    if isinstance(address, Refusal):
        return [address]
    if address.startswith(("http://", "https://")):
        if refused := refuse_address(access, "address", address):
            return [refused]
    elif not normalised(address):
        return [Refusal("address", say("This is not an e-mail address."), say("Or begin it with https://."))]
    session.add(NoticeTarget(project_id=access.project.id, address=address))
    note(session, access, "alert added", redact_url(address))
    return []


def remove_alert(session: Session, access: Access, target: NoticeTarget) -> None:
    """Removes a target."""
    note(session, access, "alert removed", redact_url(target.address))
    session.delete(target)
