"""Creates and revokes API keys. A key is shown once; only its hash is stored."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from pbxhub.account.access import SCOPES, Access
from pbxhub.account.audit_log import note
from pbxhub.account.refusals import Refusal
from pbxhub.account.texts import one_line
from pbxhub.account.tokens import hash_of
from pbxhub.store.accounts import ApiKey
from pbxhub.translatable import say

LONGEST_NAME = 200  # characters
_PREFIX = 10  # characters of a key by which people tell it from others


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key, which is shown once."""

    id: int
    key: str = field(repr=False)


def make_key(session: Session, access: Access, name: str, scopes: Iterable[str]) -> NewKey | list[Refusal]:
    """A key of the project with these scopes."""
    wanted = [scope for scope in SCOPES if scope in set(scopes)]
    called = one_line({"name": name}, "name", LONGEST_NAME, needed=True)
    refused = [called] if isinstance(called, Refusal) else []
    if not wanted or set(scopes) - set(SCOPES):
        refused.append(Refusal("scopes", say("Choose at least one right for the key."), say("Choose what it may do.")))
    if refused or isinstance(called, Refusal):
        return refused
    key = f"pbx_{secrets.token_urlsafe(32)}"
    row = ApiKey(project_id=access.project.id, name=called, key_hash=hash_of(key), prefix=key[:_PREFIX], scopes=wanted,
                 created_on=access.now)  # fmt: skip
    session.add(row)
    session.flush()
    note(session, access, "API key made", row.name, {}, {"may": ", ".join(wanted)})
    return NewKey(row.id, key)


def revoke_key(session: Session, access: Access, row: ApiKey) -> None:
    """Programs with this key are refused from now on."""
    note(session, access, "API key deleted", row.name)
    session.delete(row)
