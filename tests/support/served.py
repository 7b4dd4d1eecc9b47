"""A running hub as the tests of the API see it."""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from pbxhub.client import Client
from pbxhub.delivery.context import DeliveryContext
from pbxhub.store.accounts import ApiKey
from pbxhub.store.events import EventRow
from pbxhub.store.session import Database
from pbxhub.vault import Vault

VAULT = Vault(b"k" * 32)


@dataclass
class Served:
    """A running hub. client("read", "write"): a program whose key has these scopes; stranger: of the other project."""

    database: Database
    address: str
    project_id: int
    other_id: int
    pbx_id: int
    app: Any

    @property
    def context(self) -> DeliveryContext:
        found: DeliveryContext = self.app.extensions["pbxhub"].context
        return found

    def key(self, *scopes: str, project_id: int | None = None) -> str:
        project = project_id or self.project_id
        text = f"pbx_{project}_{'-'.join(scopes)}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        with self.database.write() as session:
            if session.scalar(select(ApiKey.id).where(ApiKey.key_hash == digest)) is None:
                session.add(
                    ApiKey(
                        project_id=project, name="test", key_hash=digest, prefix="pbx_", scopes=list(scopes),
                        created_on=datetime.now(UTC),
                    )
                )  # fmt: skip
        return text

    def client(self, *scopes: str, project_id: int | None = None) -> Client:
        return Client(self.address, self.key(*(scopes or ("read", "write", "call", "admin")), project_id=project_id))

    @property
    def stranger(self) -> Client:
        return self.client(project_id=self.other_id)

    def events(self) -> list[EventRow]:
        with self.database.read() as session:
            return list(session.scalars(select(EventRow).order_by(EventRow.id)))


OPEN = {"/openapi.json", "/docs", "/"}


def routes(hub: Served) -> list[tuple[str, str]]:
    """Method and rule of every route that asks for a key."""
    api = hub.app.extensions["pbxhub.api"]
    found = [
        (method, rule.rule)
        for rule in api.url_map.iter_rules()
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"})
        if rule.rule not in OPEN
    ]
    assert len(found) > 60
    return found


def fill(rule: str, ids: dict[str, object]) -> str:
    """The path of a rule, with the ids of the rows that there are."""
    return re.sub(r"<(?:[^<>:]+:)?(\w+)>", lambda place: str(ids[place[1]]), rule)
