"""Which PBXs the hub should hear and does not."""

from datetime import datetime

from pbxhub.store.accounts import Pbx
from pbxhub.store.parts import SILENT


def unheard(pbx: Pbx, now: datetime) -> bool:
    """Whether a process should listen to this PBX, but has not written so for a minute."""
    return pbx.enabled and pbx.state_code != "stopped" and now - (pbx.seen_on or pbx.created_on) > SILENT


def is_connected(pbx: Pbx, now: datetime) -> bool:
    """Whether the hub hears the calls of this PBX at this moment."""
    return pbx.state == "connected" and not unheard(pbx, now)


def lost_since(pbx: Pbx, now: datetime) -> datetime | None:
    """Since when the hub has not heard this PBX, as far as its row tells; None while it hears it."""
    if is_connected(pbx, now):
        return None
    return (pbx.seen_on if unheard(pbx, now) else pbx.state_since) or pbx.created_on
