"""The address of a project at which CRMs order calls: HUB/dial?key=KEY."""

import base64
import hashlib
import hmac
from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, Session, mapped_column

from pbxhub.store.columns import UtcDateTime
from pbxhub.store.session import Base
from pbxhub.vault import Vault


class DialAddress(Base):
    """What a project has set up for calls begun in a CRM. Without a row, or not enabled, it has no address.

    set_name: the set of webhooks that it was made with, and is removed with; "" for one that was made by itself.
    removed_on: when it was removed with the set; only undoing that very deletion brings it back. crm_host: of the CRM
    that the owner who made the set has named, as https://HOST; nobody else is told the address. "" = it is told nobody.

    salt: of its key, random; a new one makes the former address useless. SQLite gives the id of a deleted project
    again: without the salt, whoever has the address of the former project could call with that of the new one.
    """

    __tablename__ = "dial_address"
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), primary_key=True)
    salt: Mapped[str] = mapped_column(String(32))
    enabled: Mapped[bool] = mapped_column(default=True)
    token_hash: Mapped[str] = mapped_column(String(64), default="")  # SHA-256 of Bitrix24's application token
    # rings for a callback form that a visitor has filled in, if nobody has talked with them; "" = the call is refused
    callback_extension: Mapped[str] = mapped_column(String(80), default="")
    set_name: Mapped[str] = mapped_column(String(200), default="")
    removed_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    crm_host: Mapped[str] = mapped_column(String, default="")


class DialKeys:
    """Makes and checks the keys. They are derived from the secret key of the hub, so none is stored."""

    def __init__(self, vault: Vault) -> None:
        self._key = vault.derive("dial addresses")

    def key(self, row: DialAddress) -> str:
        made = hmac.digest(self._key, f"{row.project_id} {row.salt}".encode(), hashlib.sha256)
        return f"{row.project_id}-{base64.urlsafe_b64encode(made[:24]).decode()}"

    def address_of(self, session: Session, key: str) -> DialAddress | None:
        """The address with this key; None when there is none."""
        number = key.partition("-")[0]
        if not number.isascii() or not number.isdigit() or len(number) > 15:
            return None
        row = session.get(DialAddress, int(number))
        return row if row and hmac.compare_digest(self.key(row).encode(), key.encode("utf-8", "replace")) else None
