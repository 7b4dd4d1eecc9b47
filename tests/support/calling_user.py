"""Who may start calls: an AMI user, and a program with a key."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from pbxhub.store.accounts import ApiKey
from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.pbx.asterisk import PASSWORD

KEY = "pbx_test"


@dataclass(frozen=True)
class CallingUser:
    """The AMI user that may start calls, [pbxhub-calls] of asterisk-conf/."""

    host: str
    port: int
    username: str = "pbxhub-caller"
    secret: str = PASSWORD


def give_key(hub: Hub) -> None:
    """KEY may do everything in the project of this hub."""
    with hub.database.write() as session:
        session.add(
            ApiKey(
                project_id=hub.project_id, name="test", prefix="pbx_", scopes=["read", "write", "call", "admin"],
                key_hash=hashlib.sha256(KEY.encode()).hexdigest(), created_on=datetime.now(UTC),
            )
        )  # fmt: skip
