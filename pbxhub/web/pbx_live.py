"""How a PBX stands at this moment, from what the listener writes on its row."""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

from sqlalchemy.orm import Session

from pbxhub.sending.own_address import own_address
from pbxhub.store.accounts import Pbx
from pbxhub.store.history import open_calls
from pbxhub.wsgi.current import now

_SILENT = timedelta(seconds=60)  # the listener writes every 15 s


@dataclass(frozen=True, slots=True)
class Live:
    """calls: live now. per_second: events over the last minute; None while none can come."""

    calls: int
    per_second: float | None
    permit: str


def live(session: Session, pbx: Pbx) -> Live:
    """The live part of the page of a PBX."""
    hears = pbx.state == "connected" and not unheard(pbx)
    # before the listener has tried, what this process sees will do; a host name must not hold up the page
    address = pbx.hub_address or own_address(pbx.host, pbx.port, ask_dns=False)
    return Live(
        open_calls(session, [pbx.id]).get(pbx.id, 0), pbx.events_last_minute / 60 if hears else None, permit(address)
    )


def unheard(pbx: Pbx) -> bool:
    """Whether somebody should listen to this PBX, but the process that does has not shown itself for a minute."""
    told_so = pbx.state_code == "stopped"
    return pbx.enabled and not told_so and now() - (pbx.seen_on or pbx.created_on) > _SILENT


def permit(address: str) -> str:
    """The value of permit= in manager.conf that lets in this address only; "" for an unknown one."""
    if not address:
        return ""
    return f"{address}/128" if ip_address(address).version == 6 else f"{address}/255.255.255.255"
