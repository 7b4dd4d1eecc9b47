"""A request leaves exactly as it was set up, and what is known of the attempt comes back."""

import gc
import ipaddress
import os
import resource
import socket
import threading
import time
import warnings
from contextlib import ExitStack, suppress

import pytest

from pbxhub.sending.connection_pools import ConnectionPools
from pbxhub.sending.curl_loop import CurlLoop
from pbxhub.sending.engine import Engine
from pbxhub.sending.exchange import SYSTEM_TLS
from pbxhub.sending.resolver import Resolver
from pbxhub.sending.sender import Sender
from pbxhub.testing.receivers import misbehaving as zoo
from pbxhub.testing.receivers.misbehaving import Cage
from pbxhub.testing.receivers.receiver import Receiver, Reply
from tests.support.sending import LOOPBACK_TOO, PUBLIC_ONLY, Dns, post, send, sender


def wire(
    method: str, body: bytes = b"", headers: tuple[tuple[str, str], ...] = (), path: str = "/a?b=c"
) -> list[bytes]:
    """What a receiver reads: the lines of the head, sorted but for the first, and the body."""
    with Cage(zoo.says(zoo.http(200))) as cage:
        assert send(cage.url + path, method=method, body=body, headers=headers).outcome == "ok"
        head, _, sent = cage.requests[0].partition(b"\r\n\r\n")
        first, *lines = head.replace(str(cage.port).encode(), b"PORT").split(b"\r\n")
        assert sent == body
        return [first, *sorted(line for line in lines if not line.startswith(b"User-Agent: pbxhub/"))]


PLAIN, HOST = b"Accept-Encoding: identity", b"Host: 127.0.0.1:PORT"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_methods_with_a_body_send_exactly_these_bytes(method: str) -> None:
    first = method.encode() + b" /a?b=c HTTP/1.1"
    assert wire(method, b"x=1") == [first, PLAIN, b"Content-Length: 3", HOST]
    assert wire(method, b"") == [first, PLAIN, b"Content-Length: 0", HOST]


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
def test_methods_without_a_body_send_none(method: str) -> None:
    assert wire(method) == [method.encode() + b" /a?b=c HTTP/1.1", PLAIN, HOST]


def test_a_delete_may_have_a_body() -> None:
    assert wire("DELETE", b"x") == [b"DELETE /a?b=c HTTP/1.1", PLAIN, b"Content-Length: 1", HOST]


def test_headers_go_out_in_order_empty_ones_too_and_nothing_is_added() -> None:
    headers = (("X-B", "1"), ("x-a", ""), ("X-B", "2"), ("Content-Type", "application/json"), ("X-Name", "caf\xe9"))
    with Cage(zoo.says(zoo.http(200))) as cage:
        send(cage.url, headers=headers)
        lines = cage.requests[0].split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    own = [
        line for line in lines if not line.startswith((b"Host", b"User-Agent", b"Accept-Encoding", b"Content-Length"))
    ]
    assert own == [b"X-B: 1", b"x-a:", b"X-B: 2", b"Content-Type: application/json", b"X-Name: caf\xe9"]


def test_an_own_user_agent_and_accept_replace_ours() -> None:
    assert [line for line in wire("GET", headers=(("User-Agent", "mine"), ("accept", "a/b"))) if b": " in line] == [
        PLAIN, HOST, b"User-Agent: mine", b"accept: a/b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/a/../b/./c", "/%2e%2e/x", "/a?b=%20+&c=[0]&d={}", "/шлях", "?only=query", "", "//double"]
)
def test_path_and_query_are_not_touched(path: str) -> None:
    sent = "".join(c if c.isascii() else "".join(f"%{b:02X}" for b in c.encode()) for c in path)
    sent = sent if sent.startswith("/") else "/" + sent
    assert wire("GET", path=path)[0] == b"GET " + sent.encode() + b" HTTP/1.1"


def test_head_has_no_body_and_leaves_nothing_behind_on_the_connection() -> None:
    with Receiver() as receiver, sender() as one:
        answers = [
            one.send(post(receiver.url, b"", method=method)) for method in ("HEAD", "GET", "HEAD", "POST", "GET")
        ]
        assert [answer.body for answer in answers] == [b"", b"ok", b"", b"ok", b"ok"]
        assert receiver.connections == 1


def test_a_large_body_arrives_without_waiting_for_a_100_continue() -> None:
    body = bytes(2_000_000)
    with Receiver() as receiver:
        answer = send(receiver.url, body=body)
        assert receiver.requests[0].body == body
        assert receiver.requests[0].header("expect") is None
        assert (answer.total_us or 0) < 900_000


@pytest.mark.slow
def test_phases_are_timed_and_the_peer_is_known() -> None:
    dns = Dns(shop_example=["127.0.0.1"])
    with Receiver(lambda _: Reply(delay=0.2)) as receiver, sender(dns=dns) as one:
        first, second = (one.send(post(f"http://shop.example:{receiver.port}/")) for _ in range(2))
    assert first.peer == f"127.0.0.1:{receiver.port}"
    assert 0 < (first.connect_us or 0) < 100_000
    assert second.connect_us == 0
    for answer in (first, second):
        assert answer.dns_us is not None
        assert 190_000 < (answer.first_byte_us or 0) < 300_000
        assert 200_000 <= (answer.total_us or 0) < 300_000
        assert answer.tls_version == ""


@pytest.mark.slow
def test_slow_dns_counts_in_the_total() -> None:
    class Slow(Dns):
        def __call__(self, name: str) -> tuple:  # type: ignore[type-arg]
            threading.Event().wait(0.2)
            return super().__call__(name)

    with Receiver() as receiver, sender(dns=Slow(shop_example=["127.0.0.1"])) as one:
        answer = one.send(post(f"http://shop.example:{receiver.port}/"))
    assert 200_000 <= (answer.dns_us or 0) < 300_000
    assert (answer.total_us or 0) >= 200_000


def test_an_unknown_name_is_an_outcome() -> None:
    answer = send("http://no.example/", PUBLIC_ONLY, Dns())
    assert (answer.outcome, answer.status_code) == ("dns_not_found", None)
    assert "typing error" not in answer.message
    assert "no address for" in answer.message


def test_a_name_is_asked_once_while_it_is_remembered() -> None:
    dns = Dns(shop_example=["127.0.0.1"])
    one = Sender(LOOPBACK_TOO, Resolver(dns, keep=60))
    with Receiver() as receiver:
        for _ in range(3):
            one.send(post(f"http://shop.example:{receiver.port}/"))
    one.close()
    assert dns.asked == ["shop.example"]


def test_a_name_with_two_addresses_is_reached_by_the_one_that_answers() -> None:
    with Receiver() as receiver:
        dns = Dns(shop_example=["::1", "127.0.0.1"])
        assert send(f"http://shop.example:{receiver.port}/", dns=dns).outcome == "ok"


@pytest.mark.slow
def test_a_connection_that_gets_no_reply_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        answer = send(f"http://127.0.0.1:{server.getsockname()[1]}/", deadline=0.3)
        assert answer.outcome in ("connect_timeout", "deadline")
        assert answer.status_code is None
        for filler in fillers:
            filler.close()


def test_a_machine_without_free_file_handles_says_so_and_recovers() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Receiver() as receiver, sender() as one, ExitStack() as fillers:
        one.send(post(receiver.url, pool="webhook:0"))
        gc.collect()  # handles of earlier tests must not come free in the middle of this one
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, limits[1]))
        try:
            with suppress(OSError):
                while True:
                    fillers.enter_context(open(os.devnull))
            answer = one.send(post(receiver.url))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert answer.outcome == "connect_refused"
        assert "Too many open files" in answer.message
        assert one.send(post(receiver.url)).outcome == "ok"


def test_no_socket_is_left_to_the_collector_of_garbage() -> None:
    with Receiver() as receiver, sender() as one, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        assert one.send(post(receiver.url)).outcome == "ok"
    assert [str(warning.message) for warning in caught] == []


def test_a_connection_the_receiver_closed_meanwhile_is_opened_again() -> None:
    with Cage(zoo.ends_after(zoo.OK)) as cage, sender() as one:
        assert [one.send(post(cage.url)).outcome for _ in range(5)] == ["ok"] * 5
        assert cage.visits == 5


def test_the_status_decides_the_outcome() -> None:
    codes = {
        200: "ok",
        204: "ok",
        301: "http_3xx",
        404: "http_4xx",
        410: "gone",
        429: "http_4xx",
        503: "http_5xx",
        999: "bad_answer",
    }
    with Cage(zoo.answers_in_turn(*(zoo.http(status) for status in codes if status != 204))) as cage, sender() as one:
        for status, code in codes.items():
            if status != 204:
                answer = one.send(post(cage.url))
                assert (answer.status_code, answer.outcome) == (status, code)
                assert answer.message


@pytest.mark.slow
def test_many_requests_at_once_all_come_back_with_their_tags() -> None:
    engine: Engine[int] = Engine(LOOPBACK_TOO, capacity=50)
    with Receiver(lambda _: Reply(delay=0.05)) as receiver:
        for number in range(300):
            engine.start(post(f"{receiver.url}/{number}", pool=f"webhook:{number % 7}"), number)
        assert engine.in_flight == 300
        tags: list[int] = []
        while len(tags) < 300:
            done = engine.finished(5)
            assert all(answer.outcome == "ok" for _, answer in done)
            tags += [tag for tag, _ in done]
        assert sorted(tags) == list(range(300))
        assert engine.in_flight == 0
        assert receiver.connections <= 60
    assert engine.close() == []


def test_a_place_is_free_again_after_a_name_was_looked_up() -> None:
    dns = Dns(shop_example=["127.0.0.1"])
    engine: Engine[int] = Engine(LOOPBACK_TOO, capacity=1, resolver=Resolver(dns, keep=0))
    with Receiver() as receiver:
        for number in range(3):
            engine.start(post(f"http://shop.example:{receiver.port}/"), number)
        tags: list[int] = []
        while len(tags) < 3:
            done = engine.finished(5)
            assert [answer.outcome for _, answer in done] == ["ok"] * len(done) != []
            tags += [tag for tag, _ in done]
        assert tags == [0, 1, 2]
    engine.close()


def test_connections_that_rest_for_a_minute_are_closed() -> None:
    pools = ConnectionPools()
    for number in range(30):
        pool = pools.get(f"webhook:{number}", SYSTEM_TLS)
        pool.give_back(pool.take(), float(number))
    pools.sweep(80.5)
    assert [number for number in range(30) if pools.get(f"webhook:{number}", SYSTEM_TLS).idle] == list(range(21, 30))
    pools.close()


def test_closing_a_sender_leaves_no_connection_and_no_thread_behind() -> None:
    def used() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    with Receiver() as receiver:
        send(receiver.url)
        receiver.wait_for(1)
        before = used()
        with sender() as one:
            for number in range(100):
                assert one.send(post(receiver.url, pool=f"webhook:{number}")).outcome == "ok"
            assert used()[0] >= before[0] + 100
        assert used()[1] == before[1]
        assert receiver.connections == 101


@pytest.mark.slow
def test_waiting_for_answers_ends_by_time_and_by_a_call() -> None:
    engine: Engine[int] = Engine(LOOPBACK_TOO)
    started = time.monotonic()
    assert engine.finished(0.1) == []
    assert 0.09 < time.monotonic() - started < 30
    threading.Timer(0.1, engine.wake).start()
    assert engine.finished(60) == []
    assert time.monotonic() - started < 30
    started = time.monotonic()
    assert engine.finished(0.1) == []
    assert time.monotonic() - started > 0.09
    engine.close()


@pytest.mark.slow
def test_closing_waits_for_what_is_under_way_and_breaks_off_the_rest() -> None:
    engine: Engine[str] = Engine(LOOPBACK_TOO)
    with Receiver(lambda _: Reply(delay=0.2)) as receiver, Cage(zoo.hangs) as cage:
        engine.start(post(receiver.url), "slow")
        engine.start(post(cage.url, pool="webhook:2", deadline=60), "hanging")
        started = time.monotonic()
        done = engine.close(wait=2)
        assert [tag for tag, _ in done] == ["slow"]
        assert time.monotonic() - started < 30
    with pytest.raises(RuntimeError):
        engine.start(post("http://127.0.0.1:9/"), "late")


def test_a_new_guard_holds_from_the_next_request_on() -> None:
    with Receiver() as receiver, sender() as one:
        assert one.send(post(receiver.url)).outcome == "ok"
        one.guard = PUBLIC_ONLY
        assert one.send(post(receiver.url)).outcome == "blocked_target"
        assert receiver.count == 1


def test_a_sender_takes_requests_from_many_threads() -> None:
    with Receiver() as receiver, sender() as one:
        outcomes: list[str] = []
        threads = [
            threading.Thread(target=lambda: outcomes.append(one.send(post(receiver.url)).outcome)) for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes == ["ok"] * 40


def test_ipv6_receivers_are_reached() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(zoo.OK)

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        answer = send(f"http://[::1]:{port}/")
        assert (answer.outcome, answer.peer) == ("ok", f"[::1]:{port}")
        assert ipaddress.ip_address("::1")


def test_ringing_a_sending_loop_that_has_just_closed_touches_nothing_else() -> None:
    """Its bell is a descriptor: closed too early, the number could already be somebody else's file."""
    loop = CurlLoop(4)
    loop.close()
    others = [end for _ in range(50) for end in socket.socketpair()]
    loop._asleep = True
    loop.wake()
    for end in others:
        end.setblocking(False)
        with pytest.raises(BlockingIOError):
            end.recv(8)
    for end in others:
        end.close()
