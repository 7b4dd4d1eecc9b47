"""Attempts at passwords and codes, counted for all processes and hosts together."""

from datetime import datetime

from sqlalchemy import Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from pbxhub.store.columns import UtcDateTime
from pbxhub.store.session import Base


class Tries(Base):
    """Attempts of one kind by or for one subject (account/guess_delays.py). The hash hides who tried to sign in."""

    __tablename__ = "tries"
    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256 of kind and subject
    count: Mapped[int] = mapped_column(Integer, default=0)
    seen_on: Mapped[datetime] = mapped_column(UtcDateTime, index=True)  # the last one
    free_on: Mapped[datetime] = mapped_column(UtcDateTime)  # when the next attempt is allowed
