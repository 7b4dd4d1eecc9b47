"""A mail server that keeps what it gets."""

import re
import socket
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message

from pbxhub.settings import MailServer


class Box(Message):
    def __init__(self) -> None:
        super().__init__()
        self.mails: list[object] = []

    def handle_message(self, message) -> None:
        self.mails.append(message)


@pytest.fixture
def post_office() -> Iterator[tuple[Box, MailServer]]:
    box = Box()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, MailServer("127.0.0.1", port, "hub@example.com", starttls=False)
    controller.stop()


def links_in(mail) -> list[str]:
    """The paths of the hub that a mail names."""
    return re.findall(r"http://localhost(/\S+)", mail.get_payload(decode=True).decode())
