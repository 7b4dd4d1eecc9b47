"""A user's CRM answers in windows-1251: the answer is shown, judged and saved as it was meant."""

import encodings
from dataclasses import replace

import pytest

from pbxhub.delivery.read_answer import read
from pbxhub.sending.answer_charset import in_utf8
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import DELIVERED
from pbxhub.store.session import Database
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.webhooks.spec import AnswerSpec, BodyCheck, Saved, Success
from tests.support.outbox_world import BEFORE, World, report, spec
from tests.support.sending import post, sending
from tests.support.waiting import wait_until
from tests.support.working import states, working

IN_1251 = (("Content-Type", "application/json; charset=windows-1251"),)


def test_the_answer_is_saved_and_stored_as_it_was_meant(database: Database) -> None:
    world = World(database)
    answer = AnswerSpec(save=(Saved("CLIENT", "client.name", mandatory=True),))
    success = Success(body=BodyCheck("text_contains", value="Київ"))
    body = '{"client": {"name": "Їжак", "city": "Київ"}}'.encode("cp1251")
    with Receiver(lambda _: Reply(200, body, IN_1251)) as receiver:
        world.webhook(BEFORE, spec(receiver.url, answer=answer, success=success))
        with working(database, receiver):
            world.publish(report("1.1", BEFORE), now=utc_now())
            receiver.wait_for(1)
            wait_until(lambda: states(world) == {DELIVERED})
    (delivery,) = world.deliveries()
    (attempt,) = world.attempts(delivery)
    assert "Їжак" in attempt.response_body.decode()


def test_an_xml_answer_names_its_charset_itself() -> None:
    body = '<?xml version="1.0" encoding="windows-1251"?><a><b>Їжак</b></a>'.encode("cp1251")
    reply = Reply(200, body, (("Content-Type", "text/xml"),))
    with Receiver(lambda _: reply) as receiver, sending(receiver) as sender:
        answer = sender.send(post(receiver.url, b"{}"))
    assert answer.body.decode() == '<?xml version="1.0" encoding="UTF-8"?><a><b>Їжак</b></a>'
    saving = replace(spec(), answer=AnswerSpec("xml", (Saved("NAME", "a/b"),)))
    assert read(saving, answer).values["webhook.saved"] == {"NAME": "Їжак"}


@pytest.mark.parametrize(
    "charset", ["utf-8", "utf-7", "idna", "punycode", "unicode_escape", "base64", "no-such", "", "x" * 999]
)
def test_what_is_utf8_or_no_charset_of_a_text_stays_as_it_came(charset: str) -> None:
    body = b"\xd0\x87 +AGE- \\u0041 \xff"
    assert in_utf8(body, [("content-type", f"text/plain; charset={charset}")]) == body


@pytest.mark.parametrize(
    ("declared", "charset"),
    [("windows-1251", "cp1251"), ('"KOI8-U"', "koi8-u"), ("iso-8859-5", "iso8859-5"), ("UTF-16LE", "utf-16-le"),
     ("Shift_JIS", "shift_jis"), ("gb2312", "gb18030"), ("cp866", "cp866")],
)  # fmt: skip
def test_the_usual_charsets_are_known(declared: str, charset: str) -> None:
    text = "Привет"
    header = [("Content-Type", f"text/html;Charset={declared}; x=y")]
    assert in_utf8(text.encode(charset), header).decode() == text


def test_nothing_compressed_is_asked_for_unless_the_webhook_does() -> None:
    with Receiver() as receiver, sending(receiver) as sender:
        sender.send(post(receiver.url, b"{}"))
        sender.send(post(receiver.url, b"{}", (("Accept-Encoding", "gzip"),)))
    assert [one.header("accept-encoding") for one in receiver.requests] == ["identity", "gzip"]


def test_names_that_a_receiver_invents_take_no_memory() -> None:
    before = len(encodings._cache)  # type: ignore[attr-defined]
    for number in range(20):
        in_utf8(b"{}", [("content-type", f"text/plain; charset=x{number}")])
        in_utf8(b"{}", [("content-type", f"text/plain; charset=windows-1251{'-' * number * 1000}")])
    assert len(encodings._cache) <= before + 1  # type: ignore[attr-defined]


def test_a_name_with_a_nul_is_no_charset() -> None:
    assert in_utf8(b"{}", [("content-type", "text/plain; charset=x\0y")]) == b"{}"
