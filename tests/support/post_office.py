"""A mail server that keeps what it gets."""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as Handler

from pbxhub.settings import MailServer
from pbxhub.testing.processes import free_port


class Box(Handler):
    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.mails.append(message)


@contextmanager
def serving_mail(tls: ssl.SSLContext | None = None) -> Iterator[tuple[Box, MailServer]]:
    """A mail server on loopback, as settings name it. tls: what STARTTLS speaks; without it there is none."""
    box = Box()
    port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port, tls_context=tls)
    controller.start()
    yield box, MailServer("127.0.0.1", port, "hub@example.com", starttls=tls is not None)
    controller.stop()


def links_in(mail: Message) -> list[str]:
    """The paths of the hub that a mail names."""
    return re.findall(r"http://localhost(/\S+)", mail.get_payload(decode=True).decode())
