"""What every page needs of the hub: its settings, its database, its vault and the time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from flask import current_app
from sqlalchemy.orm import Session

from pbxhub.sending.address_guard import AddressGuard, read_grant
from pbxhub.sending.sender import Sender
from pbxhub.settings import MailServer, Settings
from pbxhub.store.accounts import Pbx, Project
from pbxhub.store.session import Database
from pbxhub.vault import Vault
from pbxhub.web.long_answers import LongAnswers


class Finding(Protocol):
    """One thing that was looked at: whether it is well, and what is so or what to do."""

    @property
    def well(self) -> bool: ...

    @property
    def sentence(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Hub:
    """The parts create_app was given."""

    settings: Settings
    database: Database
    vault: Vault
    guard: Callable[[], AddressGuard]  # which addresses webhooks may reach, asked anew each time
    sender: Sender
    mail: MailServer | None  # None: links are shown on pages instead of mailed
    check_pbx: Callable[[Pbx, bool], Sequence[Finding]]  # signs in to a PBX; True: for an operator
    recordings: Path  # where files of MIXMONITOR_FILENAME lie on this host
    long_answers: LongAnswers = field(default_factory=LongAnswers)


def hub() -> Hub:
    """The hub of the application that answers the current request."""
    found: Hub = current_app.extensions["pbxhub"]
    return found


def guard_of(project: Project) -> AddressGuard:
    """Which addresses the requests of a project may reach at this moment."""
    return hub().guard().granting(read_grant(project.webhook_networks))


@contextmanager
def reading() -> Iterator[Session]:
    """A session for a page that only shows."""
    with hub().database.read() as session:
        yield session


@contextmanager
def writing() -> Iterator[Session]:
    """A transaction for a change; committed at the end of the block, undone when it is left by an error."""
    with hub().database.write() as session:
        yield session


def now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC)
