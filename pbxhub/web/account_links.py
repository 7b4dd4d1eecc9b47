"""Links that the operator hands over when mail is not possible: to reset a password, or to accept an invitation."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Flask, url_for
from flask_security.recoverable import generate_reset_link
from sqlalchemy import select

from pbxhub.account.email_addresses import normalised
from pbxhub.account.invitations import LASTS, account_of, new_link
from pbxhub.account.refusals import Refusal
from pbxhub.store.session import Database
from pbxhub.store.sign_in_rows import Invitation
from pbxhub.translatable import say
from pbxhub.web.users import Account
from pbxhub.wsgi.current import now

_RESET = timedelta(days=1)  # the sign-in library's own


@dataclass(frozen=True, slots=True)
class Link:
    """A link to an account, and when it expires."""

    address: str
    until: datetime


def link_for(app: Flask, database: Database, email: str) -> Link | Refusal:
    """A link for this address. It counts like a mailed link, because the operator vouches for the recipient."""
    address = normalised(email)
    with app.test_request_context(base_url=app.extensions["pbxhub"].settings.public_url), database.write() as session:
        if user := account_of(session, address):
            link: str = generate_reset_link(Account.of(user))[0]  # type: ignore[no-untyped-call]
            return Link(link, now() + _RESET)
        newest = select(Invitation).where(Invitation.email == address).order_by(Invitation.created_on.desc())
        if invitation := session.scalars(newest).first():
            token = new_link(invitation, mailed=True, now=now())
            return Link(url_for("invitations.with_link", token=token, _external=True), now() + LASTS)
    return Refusal(
        "email", say("There is no user and no invitation for %(who)s.", who=email),
        say("First, an owner of a project must invite this address."),
    )  # fmt: skip
