"""Every table of the hub, for what walks through all of them: drafts of migrations, a move, another key."""

from pbxhub.store import (
    accounts,
    api,
    connections,
    delivery_rows,
    dial_addresses,
    events,
    history,
    hub_keys,
    key_check,
    listeners,
    notices,
    ordered_calls,
    parts,
    questions,
    queue_pauses,
    resends,
    sign_in_rows,
    webhooks,
)
from pbxhub.store.session import Base

metadata = Base.metadata
TABLES = (
    accounts,
    webhooks,
    connections,
    history,
    delivery_rows,
    questions,
    queue_pauses,
    resends,
    sign_in_rows,
    notices,
    ordered_calls,
    dial_addresses,
    parts,
    events,
    api,
    hub_keys,
    key_check,
    listeners,
)
