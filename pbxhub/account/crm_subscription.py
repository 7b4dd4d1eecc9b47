"""Bitrix24 is subscribed to the address for calls from the CRM: only its API can do that, with an application's token.

event.bind of https://apidocs.bitrix24.com/api-reference/events/event-bind.html
"""

from urllib.parse import urlencode

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.connection_tests import Tested, try_connection
from pbxhub.account.crm_calls import address_of, crm_of_address, set_with_address
from pbxhub.account.refusals import NotFoundError
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.store.connections import Connection
from pbxhub.translatable import say
from pbxhub.webhooks.connection_spec import may_go_to

_EVENTS = ("ONEXTERNALCALLSTART", "ONEXTERNALCALLBACKSTART")
_BOUND_ALREADY = "already"  # in the words of its refusal; the handler is there, so nothing is lacking


def subscribe_bitrix24(access: Access) -> Tested:
    """Binds both events to the project's address, at the host that its set was made for: whoever may change
    connections and webhooks must not have it sent to another one. Raises NotFoundError when the address belongs to no
    such set, and BusyError."""
    with access.hub.database.read() as session:
        connection, address = _connection(session, access), address_of(session, access)
        origin = crm_of_address(session, access)
        if connection is None:
            why = say(
                "The set no longer has a connection for %(host)s. Enter this host there, or add the set anew.",
                host=origin,
            )
            return Tested(False, why)
        connection_id = connection.id
    for event in _EVENTS:
        given = urlencode({"event": event, "handler": address})
        asked = try_connection(access, connection_id, f"{origin}/rest/event.bind.json?{given}")
        if not asked.ok and _BOUND_ALREADY not in asked.answer:
            return asked
    return Tested(True, say("Bitrix24 sends clicks on numbers to this hub now."))


def _connection(session: Session, access: Access) -> Connection | None:
    """The first of the set that may be used for its CRM."""
    name, origin = set_with_address(session, access), crm_of_address(session, access)
    if not name or not origin:
        raise NotFoundError
    used = (row.connection_id for row in live_webhooks(session, access) if row.set_name == name and row.connection_id)
    found = (session.get_one(Connection, each) for each in dict.fromkeys(used))
    return next((row for row in found if may_go_to(row.spec, origin)), None)
