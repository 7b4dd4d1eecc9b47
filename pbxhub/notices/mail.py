"""Sends e-mail. All mail goes through the operator's server, over TLS with a verified certificate."""

import smtplib
import ssl
from email.message import EmailMessage

from pbxhub.settings import MailServer


def send_mail(server: MailServer, message: EmailMessage) -> str:
    """Returns "" when the server accepted the mail, otherwise why it did not. server.timeout limits each step.

    On Python 3.11 smtplib does not verify certificates unless it is given a context. This one trusts the system's
    authorities (set SSL_CERT_FILE for others).
    """
    try:
        with smtplib.SMTP(server.host, server.port, timeout=server.timeout) as connection:
            if server.starttls:
                connection.starttls(context=ssl.create_default_context())
            if server.username:
                connection.login(server.username, server.password)
            connection.send_message(message)
    except ssl.SSLCertVerificationError as error:
        return f"the certificate of the mail server is not trusted ({error.verify_message})"
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return str(error)
    return ""
