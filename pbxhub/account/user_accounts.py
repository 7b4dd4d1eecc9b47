"""Accounts that the operator makes on the server, and the ways back into one that needs no mail."""

import uuid

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from pbxhub.account.access import HubAccess, Role
from pbxhub.account.audit_log import note_of_hub, write_entry
from pbxhub.account.email_addresses import normalised, refusal_of
from pbxhub.account.passwords import refuse_password
from pbxhub.account.refusals import Refusal, Taken
from pbxhub.store.accounts import Membership, Project, User
from pbxhub.store.sign_in_rows import SignIn
from pbxhub.translatable import say


def find_user(session: Session, email: str) -> User | Refusal:
    """The user with this address, however it is spelled."""
    user = session.scalar(select(User).where(User.email == normalised(email)))
    return user or Refusal(
        "email", say("There is no user %(who)s.", who=email), say("`pbxhub user list` shows all users.")
    )


def refuse_user(session: Session, email: str, operator: bool) -> Refusal | None:
    """Why no account can be made for this address."""
    if not operator and session.scalar(select(User.id).limit(1)) is None:
        return Refusal("operator", say("The first user of a hub is an operator."), say("Add --operator."))
    if wrong := refusal_of(email):
        return Refusal("email", wrong, say("Check the spelling."))
    if session.scalar(select(User.id).where(User.email == normalised(email))) is not None:
        return Taken(
            "email",
            say("%(who)s has an account already.", who=normalised(email)),
            say("To set its password: pbxhub user password EMAIL"),
        )
    return None


def add_user(
    session: Session, by: HubAccess, email: str, name: str, password: str, hashed: str, operator: bool
) -> User | Refusal:
    """A new account. The operator vouches for the address. hashed: the password as it is stored."""
    if refused := refuse_user(session, email, operator) or refuse_password(password, normalised(email)):
        return refused
    user = User(
        email=normalised(email), name=name.strip(), password=hashed, fs_uniquifier=uuid.uuid4().hex, operator=operator,
        email_confirmed_on=by.now, recovery_codes=[], created_on=by.now,
    )  # fmt: skip
    session.add(user)
    session.flush()
    note_of_hub(session, by, "user added", user.email)
    if operator:
        note_of_hub(session, by, "operator added", user.email)
    return user


def join(session: Session, by: HubAccess, user: User, project: Project, role: Role) -> None:
    """Makes a new user a member of the project."""
    session.add(Membership(project_id=project.id, user_id=user.id, role=role, created_on=by.now))
    write_entry(session, project.id, by.user, "member added", user.email, {}, {"role": role}, by.address, by.now)


def set_password(session: Session, by: HubAccess, user: User, password: str, hashed: str) -> Refusal | None:
    """Sets the password and ends every sign-in of the user; links to reset the password no longer work. Returns why
    not."""
    if refused := refuse_password(password, user.email):
        return refused
    user.password = hashed
    note_of_hub(session, by, "password set", user.email)
    _sign_out_everywhere(session, user)
    return None


def remove_second_factor(session: Session, by: HubAccess, user: User) -> None:
    """Switches two-factor sign-in off, with the recovery codes, and ends every sign-in of the user."""
    user.tf_primary_method = user.tf_totp_secret = None
    user.recovery_codes = []
    note_of_hub(session, by, "second factor removed", user.email)
    _sign_out_everywhere(session, user)


def _sign_out_everywhere(session: Session, user: User) -> None:
    user.fs_uniquifier = uuid.uuid4().hex
    session.execute(delete(SignIn).where(SignIn.user_id == user.id))
