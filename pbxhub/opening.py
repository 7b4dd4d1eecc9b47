"""The start of every service: the database of the hub, and what publishing, claiming and recording work with."""

from dataclasses import dataclass

from pbxhub.command_settings import set_up_logs
from pbxhub.delivery.context import DeliveryContext, open_context
from pbxhub.hub_database import open_hub_database
from pbxhub.sending.address_guard import Endpoint
from pbxhub.settings import Settings


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
