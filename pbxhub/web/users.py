"""The sign-in library's view of our users: it reads an Account, changes it, and the row follows."""

from dataclasses import dataclass, field
from typing import Any

from flask import g
from flask_security import RoleMixin, UserMixin
from flask_security.datastore import UserDatastore
from sqlalchemy import func, select

from pbxhub.store.accounts import User
from pbxhub.store.session import Database


@dataclass(eq=False)
class Account(UserMixin):
    """A user row, detached. Field names are the sign-in library's."""

    id: int = 0
    email: str = ""
    name: str = ""
    password: str = ""
    active: bool = True
    fs_uniquifier: str = ""
    tf_primary_method: str | None = None
    tf_totp_secret: str | None = None
    mf_recovery_codes: list[str] = field(default_factory=list)
    language: str = ""
    roles: list[RoleMixin] = field(default_factory=list)  # none: roles belong to members of projects

    def verify_auth_token(self, _data: Any) -> bool:
        """Browsers sign in with a session, programs with an API key; the library's own tokens are never accepted."""
        return False

    @classmethod
    def of(cls, row: User) -> "Account":
        return cls(
            id=row.id,
            email=row.email,
            name=row.name,
            password=row.password,
            active=row.active,
            fs_uniquifier=row.fs_uniquifier,
            tf_primary_method=row.tf_primary_method,
            tf_totp_secret=row.tf_totp_secret,
            mf_recovery_codes=list(row.recovery_codes),
            language=row.language,
        )

    def write_to(self, row: User) -> None:
        row.password = self.password
        row.active = self.active
        row.fs_uniquifier = self.fs_uniquifier
        row.tf_primary_method = self.tf_primary_method
        row.tf_totp_secret = self.tf_totp_secret
        row.recovery_codes = list(self.mf_recovery_codes or ())


class Accounts(UserDatastore):
    """Finds accounts in a short read and writes changed ones in a short transaction of their own."""

    def __init__(self, database: Database) -> None:
        super().__init__(Account, RoleMixin)
        self._database = database

    def find_user(self, case_insensitive: bool = False, **attributes: Any) -> Account | None:
        (name, value), *_ = attributes.items()
        column = getattr(User, name)
        same = func.lower(column) == str(value).lower() if case_insensitive else column == value
        with self._database.read() as session:
            row = session.scalar(select(User).where(same))
            return Account.of(row) if row else None

    def find_role(self, role: str) -> None:
        """Roles belong to a project's members (store/accounts.Membership), not to the sign-in library."""

    def put(self, model: Account) -> Account:
        g.setdefault("changed_accounts", {})[model.id] = model
        return model

    def commit(self) -> None:
        changed: dict[int, Account] = g.pop("changed_accounts", {})
        if changed:
            with self._database.write() as session:
                for row in session.scalars(select(User).where(User.id.in_(changed))):
                    changed[row.id].write_to(row)
