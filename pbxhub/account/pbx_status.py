"""The status of a PBX at this moment, from what the listener writes on its row."""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address

from sqlalchemy.orm import Session

from pbxhub.sending.own_address import own_address
from pbxhub.store.accounts import Pbx, is_connected
from pbxhub.store.history import open_calls


@dataclass(frozen=True, slots=True)
class Live:
    """calls: in progress. per_second: events over the last minute; None while none can come."""

    calls: int
    per_second: float | None
    permit: str


def live(session: Session, pbx: Pbx, now: datetime) -> Live:
    """What changes while a PBX is listened to."""
    hears = is_connected(pbx, now)
    # Before the listener has tried, the address that this process would use is as good. DNS might block the page.
    address = pbx.hub_address or own_address(pbx.host, pbx.port, ask_dns=False)
    return Live(
        open_calls(session, [pbx.id]).get(pbx.id, 0), pbx.events_last_minute / 60 if hears else None, permit(address)
    )


def permit(address: str) -> str:
    """The value of permit= in manager.conf that lets in this address only; "" for an unknown one."""
    if not address:
        return ""
    return f"{address}/128" if ip_address(address).version == 6 else f"{address}/255.255.255.255"
