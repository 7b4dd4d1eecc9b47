"""The link of an invitation: mailed, shown once, or neither; then a sentence says what to do."""

from email.message import EmailMessage

from flask import flash, url_for
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.invitations import account_of, mail_wait, may_show_link, new_link
from pbxhub.notices.mail import send_mail
from pbxhub.settings import MailServer
from pbxhub.store.sign_in_rows import Invitation
from pbxhub.web.guessable_requests import duration
from pbxhub.web.language import _
from pbxhub.web.session_secrets import hand_over
from pbxhub.wsgi.current import hub, now


class SendingLink:
    """The link of an invitation: created in the transaction, sent or shown after the commit."""

    def __init__(self, session: Session, access: Access, invitation: Invitation) -> None:
        self.email, self.project = invitation.email, access.project
        self.inviter = access.user.email
        self.known = account_of(session, invitation.email) is not None
        self.token = ""
        self.wait = mail_wait(session, invitation, now()) if hub().mail else None
        if self.wait is None and (hub().mail or may_show_link(session, invitation, now())):
            self.token = new_link(invitation, hub().mail is not None, now())

    def leave(self) -> None:
        """Mails the link if there is a mail server; otherwise shows it, or what to do, on the next page."""
        server, link = hub().mail, url_for("invitations.with_link", token=self.token or "x", _external=True)
        if self.wait:
            flash(_("Too many e-mails were sent to %(who)s or by this project, so this one was not sent. Wait %(time)s "
            "and send it again.", who=self.email, time=duration(self.wait)), "error")  # fmt: skip
        elif server:
            if problem := send_mail(server, self._mail(server, link)):
                flash(_("The mail to %(who)s could not be sent: %(why)s. Send it again once the mail server works.",
                        who=self.email, why=problem), "error")  # fmt: skip
            else:
                flash(_("A mail with a link was sent to %(who)s.", who=self.email))
        elif self.token:
            hand_over(f"members {self.project.id}", link, self.email, "known" if self.known else "new")
        else:
            flash(
                _(
                    "%(who)s is invited, but the link cannot be shown here: another project has invited this "
                    "address, and anyone with the link could take over the account. Ask the operator of the hub to "
                    "set up a mail server (PBXHUB_SMTP), or to run: pbxhub user link %(who)s",
                    who=self.email,
                ),
                "error",
            )

    def _mail(self, server: MailServer, link: str) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = _("Invitation to %(project)s", project=" ".join(self.project.name.split()))
        message["From"], message["To"] = server.sender, self.email
        parts = [
            _("%(who)s invites you to the project %(project)s.", who=self.inviter, project=self.project.name),
            link,
            _("The link works for seven days. It is for you alone: do not pass it on."),
        ]
        if not self.known:
            parts.append(_("It lets you choose a password. If you did not expect this mail, ignore it."))
        message.set_content("\n\n".join(parts))
        return message
