"""Where the notices of a project go: mail addresses, and addresses that get them as JSON."""

from collections.abc import Callable

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.email_addresses import normalised
from pbxhub.account.refusals import Refusal
from pbxhub.account.texts import one_line
from pbxhub.redaction import redact_url
from pbxhub.store.notices import NoticeTarget
from pbxhub.translatable import say

LONGEST = 2000  # characters


def add_alert(session: Session, access: Access, given: str, why_not: Callable[[str], str]) -> list[Refusal]:
    """Another place that hears. why_not: says why the hub may not reach an address, "" when it may."""
    address = one_line({"address": given}, "address", LONGEST, needed=True)
    if isinstance(address, Refusal):
        return [address]
    if address.startswith(("http://", "https://")):
        if refused := why_not(address):
            return [
                Refusal(
                    "address",
                    say("The hub may not send there: %(why)s", why=refused),
                    say("Give an address on the public internet."),
                )
            ]
    elif not normalised(address):
        return [Refusal("address", say("This is not an e-mail address."), say("Or begin it with https://."))]
    session.add(NoticeTarget(project_id=access.project.id, address=address))
    note(session, access, "alert added", redact_url(address))
    return []


def remove_alert(session: Session, access: Access, target: NoticeTarget) -> None:
    """One place less."""
    note(session, access, "alert removed", redact_url(target.address))
    session.delete(target)
