"""A receiver misbehaves."""

import gzip
import re
import ssl
import threading
import time
import tracemalloc

import pytest
from sqlalchemy import Column, LargeBinary, MetaData, String, Table, insert, select

from pbxhub.sending.engine import Engine
from pbxhub.sending.exchange import MAX_BODY, TlsOptions
from pbxhub.store.columns import JsonColumn
from pbxhub.store.session import Database
from pbxhub.testing.receivers import misbehaving as zoo
from pbxhub.testing.receivers.bad_tls import Authority, new_authority, self_signed_server
from pbxhub.testing.receivers.misbehaving import Animal, Cage
from pbxhub.testing.receivers.receiver import Receiver
from tests.support.sending import LOOPBACK_TOO, Dns, post, send, sender


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


BUSY = 10.0  # seconds that a busy machine may take for what needs less than one


def ends_at_the_deadline(animal: Animal) -> None:
    with Cage(animal) as cage:
        started = time.monotonic()
        answer = send(cage.url, deadline=0.5)
        took = time.monotonic() - started
    assert answer.outcome == "deadline"
    assert 0.45 < took < BUSY
    assert answer.total_us is not None
    assert 450_000 < answer.total_us < BUSY * 1_000_000


@pytest.mark.slow
def test_a_dripping_body_ends_at_the_deadline() -> None:
    ends_at_the_deadline(zoo.drips_body)


@pytest.mark.slow
@pytest.mark.parametrize("animal", [zoo.drips_headers, zoo.drips_one_header, zoo.hangs])
def test_dripping_headers_and_silence_end_at_the_deadline(animal: Animal) -> None:
    ends_at_the_deadline(animal)


@pytest.mark.slow
def test_a_tls_handshake_that_hangs_ends_at_the_deadline() -> None:
    with Cage(zoo.hangs) as cage:
        answer = send(cage.url.replace("http:", "https:"), deadline=0.3)
        assert (answer.outcome, answer.tls_us) == ("deadline", None)


@pytest.mark.parametrize("animal", [zoo.floods_body, zoo.floods_chunks, zoo.floods_tiny_chunks])
def test_of_an_endless_body_64_kb_are_read_and_the_status_counts(animal: Animal) -> None:
    with Cage(animal) as cage:
        answer = send(cage.url, deadline=10)
    assert (answer.outcome, answer.status_code, answer.truncated, len(answer.body)) == ("ok", 200, True, MAX_BODY)
    assert "first 64 KB" in answer.message


def test_a_body_of_exactly_64_kb_is_complete() -> None:
    for size, is_cut in ((MAX_BODY - 1, False), (MAX_BODY, False), (MAX_BODY + 1, True)):
        with Cage(zoo.says(zoo.http(200, b"x" * size))) as cage:
            answer = send(cage.url)
            assert (len(answer.body), answer.truncated) == (min(size, MAX_BODY), is_cut)


BOMB = zoo.gzip_bomb()


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "gzip, gzip"])
def test_bombs_are_not_unpacked(encoding: str) -> None:
    tracemalloc.start()
    with Cage(zoo.sends_bomb(encoding, BOMB)) as cage:
        answer = send(cage.url)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.body == BOMB[:MAX_BODY]
    assert answer.outcome == "ok"
    assert peak < 4_000_000
    assert b"accept-encoding: identity" in cage.requests[0].lower()


def test_a_compressed_transfer_is_not_unpacked_either() -> None:
    packed = gzip.compress(bytes(10_000_000))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    with Cage(zoo.says(head + b"%x\r\n" % len(packed) + packed + b"\r\n0\r\n\r\n")) as cage:
        answer = send(cage.url)
    assert answer.outcome in ("ok", "bad_answer")
    assert len(answer.body) <= len(packed)


def test_interim_answers_do_not_count() -> None:
    with Cage(zoo.sends_interim_first) as cage:
        answer = send(cage.url)
    assert (answer.outcome, answer.status_code, answer.body) == ("ok", 200, b"ok")
    assert answer.headers == (("Content-Length", "2"),)


def test_endless_interim_answers_are_cut() -> None:
    with Cage(zoo.floods_interim) as cage:
        answer = send(cage.url, deadline=10)
    assert (answer.outcome, answer.status_code) == ("too_many_headers", None)


def test_an_interim_answer_alone_is_no_status() -> None:
    with Cage(zoo.ends_after(b"HTTP/1.1 103 Early Hints\r\n\r\n")) as cage:
        answer = send(cage.url)
    assert (answer.outcome, answer.status_code) == ("reset", None)


@pytest.mark.parametrize("animal", [zoo.truncates, zoo.truncates_chunks])
def test_of_a_truncated_body_the_status_counts_and_the_cut_is_noted(animal: Animal) -> None:
    with Cage(animal) as cage:
        answer = send(cage.url)
    assert (answer.outcome, answer.status_code, answer.body, answer.truncated) == ("ok", 200, b"half", True)
    assert "broke before the end" in answer.message


@pytest.mark.parametrize("animal", [zoo.sends_200_headers, zoo.sends_64k_header, zoo.floods_headers])
def test_too_many_or_too_long_headers_are_an_outcome(animal: Animal) -> None:
    with Cage(animal) as cage:
        answer = send(cage.url, deadline=10)
    assert answer.outcome == "too_many_headers"
    assert len(answer.headers) <= 102


def test_a_hundred_headers_are_taken() -> None:
    with Cage(zoo.says(zoo.http(200, b"", *["X-A: b"] * 99))) as cage:
        answer = send(cage.url)
    assert (answer.outcome, len(answer.headers)) == ("ok", 100)


@pytest.mark.parametrize("animal", [zoo.resets, zoo.slams, zoo.ends_after(b""), zoo.ends_after(b"HTTP/1.1 200")])
def test_a_connection_closed_without_an_answer_may_pass(animal: Animal) -> None:
    with Cage(animal) as cage:
        assert send(cage.url).outcome in ("reset", "bad_answer")
    with Cage(zoo.resets) as cage:
        assert send(cage.url).outcome == "reset"


def test_a_reset_in_mid_body_leaves_the_status() -> None:
    with Cage(zoo.resets_in_body) as cage:
        answer = send(cage.url)
    assert (answer.status_code, answer.body, answer.truncated) == (200, b"half", True)


@pytest.mark.parametrize("animal", [zoo.is_no_http, zoo.is_http_09, zoo.ends_after(b"HTTP/1.1 XYZ Hm\r\n\r\n")])
def test_something_that_is_not_http_is_a_bad_answer(animal: Animal) -> None:
    with Cage(animal) as cage:
        assert send(cage.url).outcome == "bad_answer"


def test_nothing_at_the_port_is_said_so() -> None:
    with Receiver() as receiver:
        url = receiver.url
    answer = send(url)
    assert answer.outcome == "connect_refused"
    assert "Nothing accepts connections" in answer.message


def test_a_binary_body_comes_back_byte_for_byte() -> None:
    binary = bytes(range(256)) * 4 + b"\xff\xfe\x00\xc3\x28"
    with Cage(zoo.says(zoo.http(200, binary))) as cage:
        assert send(cage.url).body == binary


def test_a_binary_body_is_sent_byte_for_byte() -> None:
    binary = b"\x00\x01" + bytes(range(256)) + b"\xff"
    with Receiver() as receiver:
        send(receiver.url, body=binary)
        assert receiver.requests[0].body == binary


def test_every_part_of_an_answer_can_be_stored_on_both_databases(database: Database) -> None:
    columns = (Column("message", String(1000)), Column("headers", JsonColumn), Column("body", LargeBinary))
    table = Table("answers_of_the_test", MetaData(), *columns)
    table.create(database.engine)
    nasty = bytes(range(256))
    hostile = [
        zoo.http(200, nasty, "X-A: \xe9\xff\x80"),
        zoo.http(302, nasty, "Location: http://b.example/\x80\xff" + "x" * 5000),
        b"HTTP/1.1 200 \xff\r\nX-A: a\x00b\r\nContent-Length: 256\r\n\r\n" + nasty,
        nasty,
    ]
    for bytes_sent in hostile:
        with Cage(zoo.ends_after(bytes_sent)) as cage:
            answer = send(cage.url)
        with database.engine.begin() as connection:
            row = {"message": answer.message, "headers": [list(pair) for pair in answer.headers], "body": answer.body}
            connection.execute(insert(table).values(row))
            stored = connection.execute(select(table).where(table.c.message == answer.message)).mappings().first()
            assert stored is not None
            assert dict(stored) == row


def test_header_bytes_that_are_not_ascii_come_back_as_latin_1() -> None:
    with Cage(
        zoo.says(b"HTTP/1.1 200 \xff\xfe\r\nX-A: caf\xe9 \xd0\x9f\r\nno colon\r\nContent-Length: 0\r\n\r\n")
    ) as cage:
        answer = send(cage.url)
    assert answer.outcome in ("ok", "bad_answer")
    with Cage(zoo.says(zoo.http(200, b"", "X-A: caf\xe9"))) as cage:
        answer = send(cage.url)
    assert ("X-A", "café") in answer.headers


@pytest.mark.parametrize(
    "line",
    [b"Transfer-Encoding: \xff\xfe", b"Content-Length: \xff", b"Content-Length: -1", b"Content-Encoding: \xff",
     b"Connection: \xff", b"Location: \xff\xfe", b"Transfer-Encoding: gzip", b": \xff", b"\xff\xfe"],
)  # fmt: skip
def test_garbage_in_headers_the_hub_itself_reads_ends_the_attempt_and_nothing_else(line: bytes) -> None:
    with Cage(zoo.ends_after(b"HTTP/1.1 302 Found\r\n" + line + b"\r\n\r\nbody")) as cage, sender() as one:
        answer = one.send(post(cage.url, follow_to_get=True))
        assert answer.outcome in ("bad_answer", "http_3xx", "blocked_target")
        with Receiver() as receiver:
            assert one.send(post(receiver.url)).outcome == "ok"


def bad_certificate(context: ssl.SSLContext, authority: Authority, words: str) -> None:
    with Cage(zoo.says(zoo.OK), context) as cage:
        answer = send(cage.url, tls=TlsOptions(ca=authority.pem))
        assert answer.outcome == "tls_error"
        assert re.search(words, answer.message), answer.message
        assert cage.requests == []


def test_a_self_signed_certificate_is_refused(authority: Authority) -> None:
    bad_certificate(self_signed_server(), authority, "self-signed")


def test_an_unknown_authority_is_refused(authority: Authority) -> None:
    bad_certificate(new_authority().server(), authority, "authority .* is not trusted")
    with Cage(zoo.says(zoo.OK), authority.server()) as cage:
        assert send(cage.url).outcome == "tls_error"


def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    bad_certificate(authority.server(expired=True), authority, "has expired")


def test_a_certificate_for_another_host_is_refused(authority: Authority) -> None:
    bad_certificate(authority.server("shop.example"), authority, "another host name")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(authority: Authority, version: ssl.TLSVersion) -> None:
    bad_certificate(authority.old_server(version), authority, "no longer safe")


def test_http_at_the_port_of_https_is_named() -> None:
    with Cage(zoo.greets(zoo.http(400))) as cage:
        answer = send(cage.url.replace("http:", "https:"))
    assert answer.outcome == "tls_error"
    assert "http instead of https" in answer.message


def test_an_own_authority_and_a_client_certificate_are_accepted(authority: Authority) -> None:
    certificate, key = authority.client()
    with Cage(zoo.says(zoo.OK), authority.strict_server()) as cage, sender() as one:
        tls = TlsOptions(authority.pem, certificate, key)
        answers = [one.send(post(cage.url, tls=tls)) for _ in range(2)]
        assert [answer.outcome for answer in answers] == ["ok", "ok"]
        assert {answer.tls_version for answer in answers} == {"TLSv1.3"}
        assert (answers[0].tls_us or 0) > 0
        assert cage.visits == 1
        assert one.send(post(cage.url, tls=TlsOptions(authority.pem), pool="webhook:2")).outcome in (
            "tls_error",
            "reset",
        )
        assert one.send(post(cage.url, tls=TlsOptions("rubbish", "rubbish", "x"))).outcome == "tls_error"


@pytest.mark.parametrize(
    "name", ["Content-Length", "TRANSFER-ENCODING", "connection", "Host", "hOsT", "Expect", "TE", "Upgrade", "Trailer",
             "Proxy-Authorization", "Keep-Alive", "Bad Name", "X:Y", "X\r\nY", ""],
)  # fmt: skip
def test_headers_that_belong_to_the_wire_are_refused(name: str) -> None:
    with Receiver() as receiver:
        answer = send(receiver.url, headers=((name, "5"),))
        assert answer.outcome == "render_error"
        assert receiver.connections == 0


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\x00b", "a\x1bb", "a\x7fb"])
def test_control_characters_in_a_header_value_are_refused(value: str) -> None:
    with Receiver() as receiver:
        answer = send(receiver.url, headers=(("X-Caller", value),))
        assert answer.outcome == "render_error"
        assert "X-Caller" in answer.message
        assert receiver.connections == 0


def test_control_characters_in_url_and_method_are_refused() -> None:
    with Receiver() as receiver:
        assert send(receiver.url + "/a\r\nX-Evil: 1").outcome == "blocked_target"
        assert send(receiver.url, method="GET / HTTP/1.1\r\nX: y").outcome == "render_error"
        assert receiver.connections == 0


def test_a_cyrillic_header_value_is_a_message_and_no_crash() -> None:
    answer = send("http://127.0.0.1:9/", headers=(("X-Name", "Олена"),))
    assert answer.outcome == "render_error"
    assert "X-Name" in answer.message


@pytest.mark.slow
def test_fifty_hanging_receivers_do_not_hold_up_the_others() -> None:
    engine: Engine[str] = Engine(LOOPBACK_TOO, capacity=500)
    with Cage(zoo.hangs) as cage, Receiver() as receiver:
        for number in range(400):
            engine.start(post(cage.url, pool=f"webhook:{number % 50}", deadline=120), "hanging")
        for number in range(200):
            engine.start(post(receiver.url, pool="webhook:fast", deadline=60), f"fast {number}")
            (done,) = engine.finished(60)
            assert (done[0], done[1].outcome) == (f"fast {number}", "ok")
    engine.close()


@pytest.mark.slow
def test_names_that_hang_in_the_dns_do_not_hold_up_the_others() -> None:
    over = threading.Event()

    class HangingDns(Dns):
        def __call__(self, name: str) -> tuple:  # type: ignore[type-arg]
            if name.startswith("hang"):
                over.wait(120)
            return super().__call__(name)

    with Receiver() as receiver, sender(dns=HangingDns(good_example=["127.0.0.1"])) as one:
        threads = [
            threading.Thread(target=one.send, args=(post(f"http://hang{number}.example/", deadline=60),))
            for number in range(50)
        ]
        for thread in threads:
            thread.start()
        assert one.send(post(f"http://good.example:{receiver.port}/", deadline=60)).outcome == "ok"
        answer = one.send(post("http://hang1.example/", deadline=0.2))
        assert (answer.outcome, answer.status_code) == ("deadline", None)
        assert "DNS" in answer.message
        over.set()
        for thread in threads:
            thread.join()


def test_no_kept_connection_is_shared_between_webhooks() -> None:
    with Receiver() as receiver, sender() as one:
        for pool in ("webhook:1", "webhook:2", "webhook:1", "webhook:2", "webhook:1"):
            assert one.send(post(receiver.url, pool=pool)).outcome == "ok"
        assert [received.connection for received in receiver.requests] == [1, 2, 1, 2, 1]


def test_a_connection_with_other_tls_options_is_another_one(authority: Authority) -> None:
    certificate, key = authority.client()
    with Cage(zoo.says(zoo.OK), authority.server()) as cage, sender() as one:
        one.send(post(cage.url, tls=TlsOptions(authority.pem)))
        one.send(post(cage.url, tls=TlsOptions(authority.pem, certificate, key)))
        assert send(cage.url).outcome == "tls_error"
        assert cage.visits == 3
