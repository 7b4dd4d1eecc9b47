"""Bitrix24 is subscribed to the address for calls from the CRM: only its API can do that, with an application's token.

event.bind of https://apidocs.bitrix24.com/api-reference/events/event-bind.html
"""

from urllib.parse import urlencode

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.connection_tests import Tested, try_connection
from pbxhub.account.crm_calls import address_of, set_with_address
from pbxhub.account.refusals import NotFoundError
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.store.connections import Connection
from pbxhub.translatable import say

_EVENTS = ("ONEXTERNALCALLSTART", "ONEXTERNALCALLBACKSTART")
_BOUND_ALREADY = "already"  # in the words of its refusal; the handler is there, so nothing is lacking


def subscribe_bitrix24(access: Access) -> Tested:
    """Binds both events to the project's address, by the connection of the set that the address belongs to. Raises
    NotFoundError when the address belongs to no set, and BusyError."""
    with access.hub.database.read() as session:
        connection, address = _connection(session, access), address_of(session, access)
        host = connection.spec.hosts[0]
        connection_id = connection.id
    origin = host if "://" in host else f"https://{host}"
    for event in _EVENTS:
        given = urlencode({"event": event, "handler": address})
        asked = try_connection(access, connection_id, f"{origin}/rest/event.bind.json?{given}")
        if not asked.ok and _BOUND_ALREADY not in asked.answer:
            return asked
    return Tested(True, say("Bitrix24 sends clicks on numbers to this hub now."))


def _connection(session: Session, access: Access) -> Connection:
    name = set_with_address(session, access)
    ours = (row for row in live_webhooks(session, access) if name and row.set_name == name and row.connection_id)
    webhook = next(ours, None)
    if webhook is None:
        raise NotFoundError
    return session.get_one(Connection, webhook.connection_id)
