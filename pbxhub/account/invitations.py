"""Invitations: an owner invites an address; its user accepts or declines, and becomes a member only by accepting.

The danger is an account created by somebody who does not own the address. An owner who sees a link can open it himself.
Therefore a shown link creates an account only while no other project has invited the address, and that account is
*unconfirmed*: it belongs to the inviting project, and accepts another invitation only by that invitation's link, until
its user proves the address by a mailed link.
"""

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, Role
from pbxhub.account.audit_log import Action, note, write_entry
from pbxhub.account.guess_delays import INVITED, INVITING, Bucket, begin
from pbxhub.account.members import membership_of
from pbxhub.account.refusals import Refusal
from pbxhub.account.tokens import hash_of
from pbxhub.store.accounts import Membership, Project, User
from pbxhub.store.sign_in_rows import Invitation
from pbxhub.translatable import say

LASTS = timedelta(days=7)
MOST = 200  # open ones of a project


@dataclass(frozen=True, slots=True)
class OpenInvitation:
    """An invitation with what its reader wants to know."""

    invitation: Invitation
    project: str
    inviter: str  # e-mail, empty when that account is gone

    def over(self, now: datetime) -> bool:
        return self.invitation.expires_on <= now


def invite(session: Session, access: Access, email: str, role: Role) -> Invitation | Refusal:
    """A new invitation, or the one there is with another role. email: normalised. It has no link yet (new_link)."""
    project_id, now = access.project.id, access.now
    user = account_of(session, email)
    if user and membership_of(session, project_id, user.id):
        return Refusal("email", say("%(who)s is a member already.", who=email), say("Change the role in the list."))
    invitation = session.scalar(
        select(Invitation).where(Invitation.project_id == project_id, Invitation.email == email).with_for_update()
    )
    if invitation is None:
        if _count(session, project_id) >= MOST:
            return Refusal("", say("The project has %(n)s open invitations.", n=MOST), say("Withdraw some of them."))
        invitation = Invitation(project_id=project_id, email=email, created_on=now)
        session.add(invitation)
    invitation.role, invitation.invited_by, invitation.expires_on = role, access.user.id, now + LASTS
    session.flush()
    note(session, access, "member invited", invitation.email, {}, {"role": invitation.role})
    return invitation


def withdraw(session: Session, access: Access, invitation: Invitation) -> None:
    """Takes an invitation back; its link no longer works."""
    note(session, access, "invitation withdrawn", invitation.email)
    session.delete(invitation)


def new_link(invitation: Invitation, mailed: bool, now: datetime) -> str:
    """A new token for the link; the previous one stops working. mailed: it is sent to the address and never shown."""
    token = secrets.token_urlsafe(32)
    invitation.token_hash, invitation.mailed = hash_of(token), mailed
    invitation.expires_on = now + LASTS
    return token


def mail_wait(session: Session, invitation: Invitation, now: datetime) -> timedelta | None:
    """Counts one more mail of the project, to this address and to all, or returns how long it has to wait: nobody's
    mailbox is flooded through the hub's mail server."""
    project = str(invitation.project_id)
    return begin(session, [Bucket(INVITED, f"{project} {invitation.email}"), Bucket(INVITING, project)], now)


def may_show_link(session: Session, invitation: Invitation, now: datetime) -> bool:
    """Whether the owner may be shown the link. It opens no account that is there, and makes one only for an address
    that no other project has invited."""
    return account_of(session, invitation.email) is not None or not _wanted_elsewhere(session, invitation, now)


def may_make_account(session: Session, invitation: Invitation, now: datetime) -> bool:
    """Whether the newest link may make the account: asked when it is used, as another project may have come since."""
    return invitation.mailed or not _wanted_elsewhere(session, invitation, now)


def opened(session: Session, token: str, now: datetime) -> OpenInvitation | None:
    """The invitation behind a link, while it is good."""
    found = _with_names(session, Invitation.token_hash == hash_of(token))
    return found[0] if found and not found[0].over(now) else None


def of_address(session: Session, email: str, now: datetime) -> list[OpenInvitation]:
    """What an account is invited to."""
    return [each for each in _with_names(session, Invitation.email == email) if not each.over(now)]


def of_project(session: Session, project_id: int) -> list[OpenInvitation]:
    """The open invitations of a project, those that are over among them."""
    return _with_names(session, Invitation.project_id == project_id)


def make_account(session: Session, invitation: Invitation, name: str, hashed: str, address: str, now: datetime) -> User:
    """The account of the invited address, a member of the project that invited it."""
    user = User(
        email=invitation.email, name=name, password=hashed, fs_uniquifier=uuid.uuid4().hex, recovery_codes=[],
        created_on=now,
    )  # fmt: skip
    session.add(user)
    session.flush()
    accept(session, invitation, user, address, now, by_link=True)
    return user


def accept(
    session: Session, invitation: Invitation, user: User, address: str, now: datetime, *, by_link: bool
) -> Refusal | None:
    """Makes the invited user a member, or says why not. by_link: the link of this invitation was opened."""
    if refused := _unconfirmed(user, by_link):
        return refused
    if by_link and invitation.mailed and user.email_confirmed_on is None:
        user.email_confirmed_on = now
    if membership_of(session, invitation.project_id, user.id) is None:
        session.add(Membership(project_id=invitation.project_id, user_id=user.id, role=invitation.role, created_on=now))
    _answered(session, invitation, user, "member added", address, now)
    return None


def decline(
    session: Session, invitation: Invitation, user: User, address: str, now: datetime, *, by_link: bool
) -> Refusal | None:
    """The invited user does not become a member; the project reads it in its audit log. Refused as accept() is."""
    if refused := _unconfirmed(user, by_link):
        return refused
    _answered(session, invitation, user, "invitation declined", address, now)
    return None


def confirm_address(session: Session, user_id: int, now: datetime) -> None:
    """The owner of the address has set the password by a mailed link. A second factor that was set up before was
    somebody else's, maybe: it must not keep the owner out."""
    user = session.get_one(User, user_id)
    if user.email_confirmed_on is None:
        user.email_confirmed_on = now
        user.tf_primary_method = user.tf_totp_secret = None
        user.recovery_codes = []


def account_of(session: Session, email: str) -> User | None:
    """The account with this address (normalised)."""
    return session.scalar(select(User).where(User.email == email))


def _unconfirmed(user: User, by_link: bool) -> Refusal | None:
    if by_link or user.email_confirmed_on is not None:
        return None
    return Refusal(
        "",
        say("This hub does not know yet whether %(who)s is yours.", who=user.email),
        say("Open the link that came with the invitation, or set your password anew by mail."),
    )


def _answered(
    session: Session, invitation: Invitation, user: User, action: Action, address: str, now: datetime
) -> None:
    of, role = invitation.project_id, {"role": invitation.role}
    write_entry(session, of, user, action, user.email, {}, role, address, now)
    session.delete(invitation)


def _wanted_elsewhere(session: Session, invitation: Invitation, now: datetime) -> bool:
    others = select(Invitation.id).where(
        Invitation.email == invitation.email,
        Invitation.project_id != invitation.project_id,
        Invitation.expires_on > now,
    )
    return session.scalar(others.limit(1)) is not None


def _with_names(session: Session, condition: ColumnElement[bool]) -> list[OpenInvitation]:
    rows = session.execute(
        select(Invitation, Project.name, User.email)
        .join(Project, Project.id == Invitation.project_id)
        .outerjoin(User, User.id == Invitation.invited_by)
        .where(condition)
        .order_by(Invitation.email, Invitation.id)
    )
    return [OpenInvitation(invitation, project, inviter or "") for invitation, project, inviter in rows]


def _count(session: Session, project_id: int) -> int:
    return session.scalar(select(func.count()).where(Invitation.project_id == project_id)) or 0
