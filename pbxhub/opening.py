"""The start of every service: the database of the hub, what publishing, claiming and recording work with, and which
addresses requests may reach."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbxhub.command_settings import set_up_logs
from pbxhub.database_url import database_places
from pbxhub.delivery.context import DeliveryContext, open_context
from pbxhub.hub_database import open_hub_database
from pbxhub.sending.address_guard import AddressGuard, Endpoint, endpoints
from pbxhub.settings import Settings
from pbxhub.store.accounts import enabled_pbxs

if TYPE_CHECKING:
    from pbxhub.account.installation import Installation
    from pbxhub.finding import Finding
    from pbxhub.store.accounts import Pbx


@dataclass(frozen=True, slots=True)
class OpenHub:
    """What every service needs. released: endpoints on this machine that webhooks may reach, such as the demo's
    receiver."""

    settings: Settings
    context: DeliveryContext
    released: frozenset[Endpoint] = frozenset()


def open_hub(migrating: bool = False) -> OpenHub:
    """The hub on its checked database; see open_hub_database."""
    hub = open_hub_database(migrating)
    set_up_logs(hub.settings)
    return OpenHub(hub.settings, open_context(hub.settings, hub.database, hub.vault))


def installation(hub: OpenHub) -> "Installation":
    """What the rules of the account use of the hub."""
    from pbxhub.account.installation import Installation
    from pbxhub.sending.sender import Sender

    def check_pbx(pbx: "Pbx", operator: bool) -> "Sequence[Finding]":
        from pbxhub.ami.pbx_check import check_row
        from pbxhub.ami.pbx_rows import pbx_row

        return check_row(pbx_row(pbx, hub.context.vault), operator)

    return Installation(
        hub.settings, hub.context, lambda: guard(hub), Sender(AddressGuard()), hub.settings.mail, check_pbx
    )


def pbx_places(hub: OpenHub) -> frozenset[tuple[str, int]]:
    """Host and port of the PBXs that an operator has allowed in the hub's own networks. All other PBXs are at public
    addresses. These are left out: otherwise a user who adds a PBX could block its address for the webhooks of all
    projects, or make every page wait for a name that the DNS does not resolve."""
    with hub.context.database.read() as session:
        pbxs = enabled_pbxs(session)
        return frozenset((pbx.host, pbx.port) for pbx in pbxs if pbx.any_network or pbx.project.pbx_networks)


def guard(hub: OpenHub) -> AddressGuard:
    """The address guard for requests: forbids the PBXs' AMI, the database, the mail server and the hub's own ports."""
    settings = hub.settings
    places = {(settings.bind, settings.port), *pbx_places(hub)}
    places |= {place for place in (settings.agi, settings.metrics) if place}
    if settings.mail:
        places.add((settings.mail.host, settings.mail.port))
    for url in filter(None, (settings.database_url, settings.database_direct_url)):
        places.update(database_places(url))
    forbidden = frozenset[Endpoint]().union(*(endpoints(host, port) for host, port in places))
    return AddressGuard(settings.allowed_networks, hub.released, forbidden)
