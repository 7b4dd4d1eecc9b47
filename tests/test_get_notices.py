"""A webhook is paused or recovers: the people of the project are told by mail and by HTTP."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from pbxhub.delivery.background_jobs import BackgroundJobs
from pbxhub.delivery.outbox import Selection, order_resend
from pbxhub.notices.send_notices import BATCH, FAIR_SHARE, send_due
from pbxhub.settings import MailServer
from pbxhub.store.delivery_rows import PENDING
from pbxhub.store.ids import new_id
from pbxhub.store.notices import PAUSED, Notice, NoticeTarget
from pbxhub.store.session import Database
from pbxhub.testing.receivers import misbehaving as zoo
from pbxhub.testing.receivers.bad_tls import new_authority
from pbxhub.testing.receivers.receiver import Receiver, Reply
from tests.support.outbox_world import KEPT, NOON, World, at, context_of, sick
from tests.support.post_office import Box, serving_mail
from tests.support.sending import sending
from tests.support.waiting import wait_until


@pytest.fixture
def mailbox() -> Iterator[tuple[Box, MailServer]]:
    with serving_mail() as served:
        yield served


def only(database: Database) -> Notice:
    with database.read() as session:
        return session.scalars(select(Notice)).one()


def test_a_notice_goes_out_by_mail_and_by_http_once(database: Database, mailbox: tuple[Box, MailServer]) -> None:
    box, server = mailbox
    with Receiver() as receiver, sending(receiver) as sender:
        sick(database, "anna@example.com", receiver.url)
        assert send_due(database, sender, server, at(2)) == 1
        assert send_due(database, sender, server, at(9999)) == 0
        (request,) = receiver.requests
    (mail,) = box.mails
    assert mail["To"] == "anna@example.com"
    assert "failed for the first time in a day" in mail["Subject"]
    assert "errors" not in mail["Subject"]
    assert "What to do: https://pbx.example.com/errors/4" in mail.get_payload(decode=True).decode()
    assert mail["Bcc"] is None
    assert b'"type": "webhook.first_failure"' in request.body
    assert only(database).due_on is None


def test_a_notice_nobody_takes_is_tried_again_and_says_why(database: Database) -> None:
    with Receiver(lambda _: Reply(500)) as receiver, sending(receiver) as sender:
        sick(database, receiver.url, "anna@example.com")
        assert send_due(database, sender, None, at(2)) == 0
        assert send_due(database, sender, None, at(3)) == 0
        assert receiver.count == 1
    notice = only(database)
    assert notice.due_on == at(302)
    assert "no mail server is set" in notice.error
    assert "500" in notice.error


def test_only_the_targets_that_missed_it_are_told_again(database: Database) -> None:
    works = threading.Event()
    with Receiver() as good, Receiver(lambda _: Reply(200 if works.is_set() else 500)) as bad:
        sick(database, good.url, bad.url)
        with sending(good, bad) as sender:
            assert [send_due(database, sender, None, at(2 + 300 * turn)) for turn in range(3)] == [0, 0, 0]
            works.set()
            assert send_due(database, sender, None, at(902)) == 1
        assert (good.count, bad.count) == (1, 4)
    assert (only(database).due_on, only(database).error) == (None, "")


def notices_for(world: World, number: int) -> None:
    with world.database.write() as session:
        session.add_all(
            Notice(id=new_id(), project_id=world.project_id, kind=PAUSED, text="n", created_on=NOON, due_on=NOON)
            for _ in range(number)
        )


def test_hanging_targets_are_waited_for_together(database: Database) -> None:
    """Each answers only when all have been asked."""
    together = threading.Barrier(4)

    def waits_for_the_others(visit: zoo.Visit) -> None:
        visit.read_request()
        together.wait(8)
        visit.send(zoo.OK)

    with zoo.Cage(waits_for_the_others) as cage, sending(cage) as sender:
        world = sick(database, *(f"{cage.url}/{number}" for number in range(2)))
        notices_for(world, 1)
        assert send_due(database, sender, None, at(2)) == 2


def test_a_project_with_many_notices_leaves_room_for_the_others(database: Database) -> None:
    with Receiver() as receiver, sending(receiver) as sender:
        busy, other = sick(database, receiver.url), World(database)
        notices_for(busy, 2 * BATCH)
        notices_for(other, 1)
        with database.write() as session:
            session.add(NoticeTarget(project_id=other.project_id, address=f"{receiver.url}/other"))
        send_due(database, sender, None, at(2))
        assert receiver.count == FAIR_SHARE + 1
        assert "/other" in {request.path for request in receiver.requests}


@pytest.mark.slow
def test_a_target_that_hangs_holds_up_no_other_chore(database: Database) -> None:
    resent = threading.Event()
    with Receiver(lambda _: Reply(200 if resent.wait(9) else 500)) as receiver, sending(receiver) as sender:
        world = sick(database, receiver.url)
        jobs = BackgroundJobs(context_of(database), sender, KEPT)
        jobs.start()
        receiver.wait_for(1)
        with database.write() as session:
            order_resend(session, world.project_id, Selection(), 4, at(3))
        wait_until(lambda: {row.state for row in world.deliveries()} == {PENDING})
        resent.set()
        wait_until(lambda: only(database).due_on is None)
        jobs.stop()


def test_a_mail_server_must_prove_who_it_is(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """35: neither the notice nor the password of the mail server goes to somebody in between."""
    authority = new_authority()
    (tmp_path / "authority.pem").write_text(authority.pem)
    with serving_mail(authority.server()) as (box, server), sending() as sender:
        sick(database, "anna@example.com")
        assert send_due(database, sender, server, at(2)) == 0
        assert "the certificate of the mail server is not trusted" in only(database).error
        assert box.mails == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        assert send_due(database, sender, server, at(302)) == 1
    assert len(box.mails) == 1
