"""Mails of the sign-in library: reset links, with the page that asks for one, and notices that a password changed."""

from email.message import EmailMessage
from functools import wraps
from typing import Any

import structlog
from flask import Flask, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_security import MailUtil
from flask_security.mail_util import EmailValidateException

from pbxhub.account.email_addresses import normalised
from pbxhub.account.refusals import ConflictError
from pbxhub.notices.mail import send_mail
from pbxhub.translatable import say
from pbxhub.web.language import _
from pbxhub.wsgi.current import hub

log = structlog.get_logger()


def install(app: Flask) -> None:
    """Without a mail server, the page *Forgot your password?* says so instead of promising a mail."""
    view = app.view_functions["security.forgot_password"]

    @wraps(view)
    def forgot_password() -> ResponseReturnValue:
        if hub().mail is not None:
            return make_response(view())
        if request.method == "GET" and not request.is_json:
            return render_template("security/no_mail.html")
        raise ConflictError(say("This hub sends no e-mail. Ask its operator for a new password or for a link."))

    app.view_functions["security.forgot_password"] = forgot_password


class Mail(MailUtil):
    """Sends through the operator's mail server. Without one, the log says that a mail was not sent."""

    def normalize(self, email: str) -> str:
        """The one spelling of an address."""
        found = normalised(email)
        if not found:
            raise EmailValidateException(_("Give an e-mail address, anna@example.com for example."))
        return found

    def validate(self, email: str) -> str:
        """Mails go where the address is looked up."""
        return self.normalize(email)

    def send_mail(
        self,
        template: str,
        subject: str,
        recipient: str | tuple[str, str],
        sender: str | tuple[str, str],
        body: str | None,
        html: str | None,
        **kwargs: Any,
    ) -> None:
        """Sends a mail. A failure is logged without the text, which may contain a link to the account."""
        server = hub().mail
        if server is None:
            log.warning("mail not sent", reason="no mail server is set (PBXHUB_SMTP)", to=str(recipient))
            return
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = str(subject), server.sender, str(recipient)
        message.set_content(body or "")
        problem = send_mail(server, message)
        if problem:
            log.error("mail not sent", reason=problem, to=str(recipient))
