"""Tables of how people get in: the first setup, invitations, signed-in browsers, attempts at passwords and codes, forms
kept for the next sign-in."""

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from pbxhub.store.columns import Id, UtcDateTime
from pbxhub.store.session import Base


class FirstSetup(Base):
    """The link that creates the first owner. At most one row, deleted when it is used (account/first_owner.py)."""

    __tablename__ = "first_setup"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64))  # SHA-256
    asked_for: Mapped[bool] = mapped_column(default=False)  # by `pbxhub setup-link`: also where an owner is remembered
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)


class Invitation(Base):
    """An invitation. A separate table, so that no code mistakes an invitation for a membership.

    Created and renewed by owners; deleted when accepted, declined or withdrawn. email need not have an account.
    """

    __tablename__ = "invitation"
    __table_args__ = (UniqueConstraint("project_id", "email"),)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(String(255), index=True)  # normalised
    role: Mapped[str] = mapped_column(String(10))
    token_hash: Mapped[str | None] = mapped_column(String(64), unique=True)  # SHA-256 of the token in the newest link
    mailed: Mapped[bool] = mapped_column(default=False)  # mailed to the address and never shown
    invited_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="SET NULL"), index=True)
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_on: Mapped[datetime] = mapped_column(UtcDateTime)


class SignIn(Base):
    """One signed-in browser. Signing out deletes the row, which makes its cookie invalid."""

    __tablename__ = "sign_in"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256 of the token in the cookie
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    address: Mapped[str] = mapped_column(String(60), default="")
    browser: Mapped[str] = mapped_column(String(300), default="")
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_on: Mapped[datetime] = mapped_column(UtcDateTime)


class KeptForm(Base):
    """The content of a form sent after the session ended, kept until the user has signed in again
    (web/kept_forms.py)."""

    __tablename__ = "kept_form"
    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)  # of the link's key and the browser's id
    sealed: Mapped[str] = mapped_column(String)  # where it was sent, and its fields
    ends_on: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class Tries(Base):
    """Attempts of one kind by or for one subject (account/guess_delays.py). The hash hides who tried to sign in."""

    __tablename__ = "tries"
    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256 of kind and subject
    count: Mapped[int] = mapped_column(Integer, default=0)
    seen_on: Mapped[datetime] = mapped_column(UtcDateTime, index=True)  # the last one
    free_on: Mapped[datetime] = mapped_column(UtcDateTime)  # when the next attempt is allowed
