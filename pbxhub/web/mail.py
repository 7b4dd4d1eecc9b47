"""Mails of the sign-in library: reset links and notices that a password changed."""

import smtplib
from email.message import EmailMessage
from typing import Any

import structlog
from flask_security import MailUtil

from pbxhub.settings import MailServer
from pbxhub.web.hub import hub

log = structlog.get_logger()


class Mail(MailUtil):
    """Sends through the operator's mail server. Without one nothing leaves; the log says that a mail was due."""

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
        """A mail that cannot leave is logged, without its text: it may carry a link that opens the account."""
        server = hub().mail
        if server is None:
            log.warning("mail_not_sent", reason="no mail server is set", to=str(recipient))
            return
        try:
            _send(server, str(subject), str(recipient), body or "")
        except (smtplib.SMTPException, OSError) as error:
            log.error("mail_not_sent", reason=str(error), to=str(recipient))


def _send(server: MailServer, subject: str, recipient: str, body: str) -> None:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, server.sender, recipient
    message.set_content(body)
    with smtplib.SMTP(server.host, server.port, timeout=server.timeout) as connection:
        if server.starttls:
            connection.starttls()
        if server.username:
            connection.login(server.username, server.password)
        connection.send_message(message)
