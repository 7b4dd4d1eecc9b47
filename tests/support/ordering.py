"""Calls that a program orders, without its API."""

from typing import Any

from pbxhub.delivery.outbox.ordered_call_status import register
from pbxhub.store.ids import new_id
from pbxhub.store.ordered_calls import OrderedCall
from tests.support.outbox_world import NOON, World, context_of


def order(world: World, **columns: Any) -> OrderedCall:
    """An order that has just been given."""
    given = {
        "id": new_id(), "project_id": world.project_id, "pbx_id": world.pbx_id, "name": "", "mobile_number": "+38067",
        "agent_id": "101", "from_number": "", "callback_url": "http://127.0.0.1:9/told", "callback_headers": {},
        "callback_params": {}, "custom": {}, "created_on": NOON,
    }  # fmt: skip
    made = OrderedCall(**(given | columns))
    with world.database.write() as session:
        register(context_of(world.database), session, made, NOON)
    return made
