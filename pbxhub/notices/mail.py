"""The one way a mail leaves: through the operator's server, encrypted to somebody whose certificate was verified."""

import smtplib
import ssl
from email.message import EmailMessage

from pbxhub.settings import MailServer


def send_mail(server: MailServer, message: EmailMessage) -> str:
    """ "" when the server took it, otherwise the sentence why not. server.timeout bounds each step.

    smtplib by itself verifies nothing on Python 3.11; here the system's authorities count (SSL_CERT_FILE for others).
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
