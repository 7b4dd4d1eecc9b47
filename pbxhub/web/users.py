"""Adapts our users to the sign-in library: it reads and changes an Account; changes are written to the row."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from flask import g
from flask_security import PasswordUtil, RoleMixin, UserMixin
from flask_security.datastore import UserDatastore
from sqlalchemy import select

from pbxhub.account.email_addresses import normalised
from pbxhub.account.passwords import normalised as normalised_password
from pbxhub.account.passwords import refuse_password
from pbxhub.store.accounts import User
from pbxhub.store.columns import one_of
from pbxhub.web.language import said
from pbxhub.wsgi.current import reading, writing


@dataclass(eq=False)
class Account(UserMixin):
    """A user row, detached. Field names are the sign-in library's."""

    id: int = 0
    email: str = ""
    name: str = ""
    password: str = ""
    active: bool = True
    operator: bool = False
    fs_uniquifier: str = ""
    tf_primary_method: str | None = None
    tf_totp_secret: str | None = None
    tf_phone_number: None = None  # codes come from an app only, but the library's JSON answers read this
    mf_recovery_codes: list[str] = field(default_factory=list)
    language: str = ""
    roles: list[RoleMixin] = field(default_factory=list)  # none: roles belong to members of projects
    _read: dict[str, Any] = field(default_factory=dict)  # the values of the row, to write only what has changed

    def verify_auth_token(self, _data: Any) -> bool:
        """Browsers sign in with a session, programs with an API key; the library's own tokens are never accepted."""
        return False

    @classmethod
    def of(cls, row: User) -> "Account":
        values = _values(row)
        return cls(
            id=row.id,
            email=row.email,
            name=row.name,
            language=row.language,
            operator=row.operator,
            _read=values,
            **deepcopy(values),
        )

    def write_to(self, row: User) -> None:
        """Only what this request has changed: another one may have changed the rest meanwhile, have used up a recovery
        code for example."""
        for name, before in self._read.items():
            value = getattr(self, name)
            if value != before:
                setattr(row, _COLUMNS.get(name, name), list(value or ()) if name == "mf_recovery_codes" else value)


_COLUMNS = {"mf_recovery_codes": "recovery_codes"}  # library's name -> our column
_KEPT = ("password", "active", "fs_uniquifier", "tf_primary_method", "tf_totp_secret", "mf_recovery_codes")


def _values(row: User) -> dict[str, Any]:
    return {name: getattr(row, _COLUMNS.get(name, name)) for name in _KEPT}


class Accounts(UserDatastore):
    """Finds accounts in a short read and writes changed ones in a short transaction of their own."""

    def __init__(self) -> None:
        super().__init__(Account, RoleMixin)

    def find_user(self, case_insensitive: bool = False, **attributes: Any) -> Account | None:
        """By one attribute of the library's choice. E-mail addresses are kept in one spelling and looked up in it."""
        (name, value), *_ = attributes.items()
        wanted = normalised(str(value)) if name == "email" else value
        with reading() as session:
            row = session.scalar(select(User).where(getattr(User, name) == wanted))
            return Account.of(row) if row else None

    def find_role(self, role: str) -> None:
        """Roles belong to a project's members (store/accounts.Membership), not to the sign-in library."""

    def put(self, model: Account) -> Account:
        g.setdefault("changed_accounts", {})[model.id] = model
        return model

    def commit(self) -> None:
        changed: dict[int, Account] = g.pop("changed_accounts", {})
        if changed:
            with writing() as session:
                for row in session.scalars(select(User).where(one_of(User.id, changed))):
                    changed[row.id].write_to(row)


class Passwords(PasswordUtil):
    """What the library asks when a password is changed, or set anew by mail."""

    def normalize(self, password: str) -> str:
        return normalised_password(password)

    def validate(self, password: str, is_register: bool, **kwargs: Any) -> tuple[list[str] | None, str]:
        """The sentences that refuse a password, None for none, and its one spelling."""
        user = kwargs.get("user")
        refused = refuse_password(password, user.email if user else "")
        return ([said(refused.text)] if refused else None), self.normalize(password)
