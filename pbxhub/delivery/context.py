"""What publishing, claiming and recording work with: opened once in each process, and handed to all of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pbxhub.delivery.handoff import Handoff
from pbxhub.delivery.last_look import LastLook, OldestLease
from pbxhub.delivery.links import Links
from pbxhub.delivery.wakeup import Wakeups
from pbxhub.delivery.webhook_cache import WebhookCache
from pbxhub.settings import Settings
from pbxhub.store.clock import utc_now
from pbxhub.store.session import Database
from pbxhub.vault import Vault


@dataclass(frozen=True, slots=True)
class PauseRule:
    """When a webhook is paused: after that many final failures in a row over at least that long. 0: never."""

    failures: int = 50
    over: timedelta = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """One open database and what this process keeps beside it.

    links: makes the addresses that rendered requests name. largest_file: bytes of the largest recording that a request
    sends. kept: how long finished deliveries are kept at least; whether older ones existed, nobody knows.
    clock: what a worker and its background jobs take for now;
    a function that is given `now` never asks it.
    """

    database: Database
    vault: Vault
    links: Links
    pause_rule: PauseRule = PauseRule()
    largest_file: int = 100_000_000
    kept: timedelta = timedelta(days=30)
    clock: Callable[[], datetime] = utc_now
    webhook_cache: WebhookCache = field(default_factory=WebhookCache)
    wakeups: Wakeups = field(default_factory=Wakeups)
    handoff: Handoff = field(default_factory=Handoff)
    last_look: LastLook = field(default_factory=LastLook)
    oldest_lease: OldestLease = field(default_factory=OldestLease)


def open_context(settings: Settings, database: Database, vault: Vault) -> DeliveryContext:
    """Once for each process: what shares a database must share its webhook cache, wakeups and hand-off."""
    links = Links(vault, settings.public_url, settings.recordings)
    rule = PauseRule(settings.pause_failures, timedelta(hours=settings.pause_hours))
    kept = timedelta(days=min(settings.keep_delivered, settings.keep_failed))
    return DeliveryContext(database, vault, links, rule, settings.largest_file, kept)
