"""What the rules of the account use of the running hub: settings, database, vault, sender."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from pbxhub.account.slow_requests import CHECKS, DOWNLOADS, SlowRequests
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.links import Links
from pbxhub.finding import Finding
from pbxhub.sending.address_guard import AddressGuard, read_grant
from pbxhub.sending.sender import Sender
from pbxhub.settings import MailServer, Settings
from pbxhub.store.accounts import Pbx, Project
from pbxhub.store.session import Database
from pbxhub.vault import Vault


@dataclass(frozen=True, slots=True)
class Installation:
    """One hub, as it was configured at the start."""

    settings: Settings
    context: DeliveryContext
    guard: Callable[[], AddressGuard]  # which addresses webhooks may reach, evaluated at each call
    sender: Sender  # is given the guard of the moment before each use
    mail: MailServer | None  # None: links are shown on pages instead of mailed
    check_pbx: Callable[[Pbx, bool], Sequence[Finding]]  # signs in to a PBX; True: for an operator
    slow_requests: SlowRequests = field(default_factory=partial(SlowRequests, CHECKS))
    downloads: SlowRequests = field(default_factory=partial(SlowRequests, DOWNLOADS))

    @property
    def database(self) -> Database:
        return self.context.database

    @property
    def vault(self) -> Vault:
        return self.context.vault

    @property
    def links(self) -> Links:
        """Makes and checks the addresses that requests carry."""
        return self.context.links

    def guard_of(self, project: Project) -> AddressGuard:
        """Which addresses the requests of a project may reach at this moment."""
        return self.guard().granting(read_grant(project.webhook_networks))
