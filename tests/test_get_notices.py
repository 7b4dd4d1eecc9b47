"""A webhook is paused or recovers: the people of the project are told by mail and by HTTP."""

import asyncio
import socket
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from outbox_world import BEFORE, BUSY, NOON, VAULT, World, at, finish, report, take
from sqlalchemy import select

from pbxhub.delivery.address_guard import AddressGuard, endpoints
from pbxhub.delivery.notices import tell
from pbxhub.delivery.outbox import publish
from pbxhub.delivery.sender import Sender
from pbxhub.settings import MailServer
from pbxhub.store.notices import Notice, NoticeTarget
from pbxhub.store.session import Database
from pbxhub.testing.receiver import Receiver, Reply


class Mailbox:
    """Keeps what the SMTP server takes."""

    def __init__(self) -> None:
        self.mails: list[Message] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await asyncio.sleep(0)
        self.mails.append(BytesParser().parsebytes(envelope.content))
        return "250 taken"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, MailServer]]:
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, MailServer("127.0.0.1", port, "hub@example.com", starttls=False)
    controller.stop()


def sick(database: Database, *addresses: str) -> World:
    """A world whose webhook has just failed for the first time."""
    world = World(database)
    world.webhook(name="CRM\r\nBcc: x@example.com")
    with database.write() as session:
        session.add_all(NoticeTarget(project_id=world.project_id, address=address) for address in addresses)
    publish(database, VAULT, world.pbx_id, [report("1.1", BEFORE)], NOON)
    finish(database, take(database, 0).claimed, BUSY, 1)
    return world


def only(database: Database) -> Notice:
    with database.read() as session:
        return session.scalars(select(Notice)).one()


def test_a_notice_goes_out_by_mail_and_by_http_once(database: Database, mailbox: tuple[Mailbox, MailServer]) -> None:
    box, server = mailbox
    with Receiver() as receiver:
        sick(database, "anna@example.com", receiver.url)
        sender = Sender(AddressGuard(allowed_endpoints=endpoints("127.0.0.1", receiver.port)))
        assert tell(database, sender, server, at(2)) == 1
        assert tell(database, sender, server, at(9999)) == 0
        sender.close()
        (request,) = receiver.requests
    (mail,) = box.mails
    assert mail["To"] == "anna@example.com"
    assert "failed for the first time in a day" in mail["Subject"]
    assert mail["Bcc"] is None
    assert b'"type": "webhook.first_failure"' in request.body
    assert only(database).due_on is None


def test_a_notice_nobody_takes_is_tried_again_and_says_why(database: Database) -> None:
    with Receiver(lambda _: Reply(500)) as receiver:
        sick(database, receiver.url, "anna@example.com")
        sender = Sender(AddressGuard(allowed_endpoints=endpoints("127.0.0.1", receiver.port)))
        assert tell(database, sender, None, at(2)) == 0
        assert tell(database, sender, None, at(3)) == 0
        sender.close()
        assert receiver.count == 1
    notice = only(database)
    assert notice.due_on == at(302)
    assert "no mail server is set" in notice.error
    assert "500" in notice.error
