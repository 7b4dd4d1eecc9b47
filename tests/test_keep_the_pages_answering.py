"""The pages go on for everybody, whatever others do with their connections; and each is known by their own address."""

import re
import resource
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from pbxhub import http_server
from pbxhub.account.guess_delays import NETWORK, Bucket, network_of
from pbxhub.http_server import serving
from pbxhub.settings import read_settings
from pbxhub.store.session import Database
from pbxhub.store.sign_in_rows import Tries
from pbxhub.wsgi.proxies import browser_address
from tests.support.pages_server import Pages, projects_with_keys, serving_pages
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
on_both = pytest.mark.parametrize("command", ["run", "web"])
IDLE, HALF, BEYOND = 500, 100, 1300
TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
TRUSTED = {"PBXHUB_TRUSTED_PROXIES": "127.0.0.1/32,10.0.0.0/24,fd00::/64"}


@pytest.fixture(autouse=True)
def _many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))


def test_more_connections_than_there_may_be_push_out_their_own(database_url: str, tmp_path: Path) -> None:
    with serving_pages("run", database_url, tmp_path) as pages, connections(pages.port, BEYOND) as idle:
        pages_answer(pages)
        assert idle[0].recv(1) == b""  # the oldest was closed


@on_both
def test_neither_500_silent_connections_nor_200_requests_sent_drop_by_drop_keep_anybody_out(
    command: str, database_url: str, tmp_path: Path
) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: "
    body = b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n"
    with (
        serving_pages(command, database_url, tmp_path) as pages,
        connections(pages.port, IDLE),
        connections(pages.port, HALF) as heads,
        connections(pages.port, HALF) as bodies,
    ):
        pages_answer(pages)
        for each, begun in ((heads, head), (bodies, body)):
            for one in each:
                one.sendall(begun)
        with dripping([*heads, *bodies]):
            pages_answer(pages)


@on_both
def test_streams_of_events_leave_half_of_the_threads_to_the_pages(
    database: Database, command: str, database_url: str, tmp_path: Path
) -> None:
    keys = projects_with_keys(database, *(f"Shop{number}" for number in range(10)))
    with serving_pages(command, database_url, tmp_path) as pages, ExitStack() as open_streams:
        answers = [follow(pages, key, open_streams) for key in keys.values() for _ in range(4)]
        processes = len(pages.workers) or 1
        assert answers.count(200) <= 8 * processes
        assert answers.count(200) >= 8
        assert set(answers) == {200, 503}
        pages_answer(pages)


def follow(pages: Pages, key: str, open_streams: ExitStack) -> int:
    answer = requests.get(f"{pages.url}/api/v1/events/stream", headers={"X-API-KEY": key}, stream=True, timeout=20)
    open_streams.enter_context(answer)
    return answer.status_code


@on_both
def test_the_address_of_a_browser_is_what_the_nearest_proxy_heard(
    database: Database, command: str, database_url: str, tmp_path: Path
) -> None:
    chains = {
        ("198.51.100.1, 203.0.113.2",): "203.0.113.2",  # the first is the browser's own word
        ("198.51.100.1", "203.0.113.4, 10.0.0.8"): "203.0.113.4",  # two lines are one
    }
    with serving_pages(command, database_url, tmp_path, TRUSTED) as pages:
        for chain, address in chains.items():
            assert tried_from(database, pages, chain) == {network_of(address)}, chain
        assert tried_from(database, pages, ("203.0.113.8",), name="X_Forwarded_For") == {"127.0.0.1"}


@on_both
def test_without_proxies_of_ours_nobody_names_an_address(
    database: Database, command: str, database_url: str, tmp_path: Path
) -> None:
    with serving_pages(command, database_url, tmp_path) as pages:
        assert tried_from(database, pages, ("203.0.113.9",)) == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.3, 10.0.0.8", "203.0.113.3"),
        ("127.0.0.1", "203.0.113.5:40122", "203.0.113.5"),
        ("::ffff:127.0.0.1", "[2001:DB8:5:0::7]:40122, fd00::9", "2001:db8:5::7"),
        ("127.0.0.1", "::ffff:203.0.113.7, ::ffff:10.0.0.8", "203.0.113.7"),
        ("127.0.0.1", "198.51.100.1, unknown", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1, unknown, 10.0.0.9", "10.0.0.9"),
        ("127.0.0.1", "10.0.0.1, 10.0.0.9", "10.0.0.1"),
        ("203.0.113.9", "198.51.100.1, 10.0.0.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "", "203.0.113.9"),
    ],
)
def test_a_chain_is_believed_as_far_as_it_is_ours(database_url: str, peer: str, forwarded: str, address: str) -> None:
    proxies = read_settings({**TRUSTED, "PBXHUB_DATABASE_URL": database_url, "PBXHUB_SECRET_KEY": "k" * 43 + "="})
    assert browser_address(peer, forwarded, proxies.trusted_proxies) == address


@on_both
def test_behind_a_proxy_one_who_guesses_keys_locks_out_nobody_else(
    command: str, database_url: str, tmp_path: Path
) -> None:
    def ask(forwarded: str) -> int:
        headers = {"X-API-KEY": "pbx_wrong", "X-Forwarded-For": forwarded}
        return requests.get(f"{pages.url}/api/v1/projects", headers=headers, timeout=20).status_code

    with serving_pages(command, database_url, tmp_path, TRUSTED) as pages:
        tries = (ask(f"198.51.100.{number % 250}, 203.0.113.66") for number in range(500))
        assert 429 in tries
        assert {ask("203.0.113.67") for _ in range(10)} == {401}


def test_a_request_that_does_not_arrive_in_time_is_given_up(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_ARRIVE", 0.5)
    monkeypatch.setattr(http_server, "_CHECK", 0)
    listening_on = socket.create_server(("127.0.0.1", 0))
    with (
        serving(lambda _environ, _start: [], listening_on, threads=1, name="pages"),
        connections(listening_on.getsockname()[1], 1) as (slow,),
    ):
        slow.sendall(b"GET / HTTP/1.1\r\nX-Long: ")
        with dripping([slow]):
            assert slow.recv(1) == b""


def test_a_reader_who_takes_nothing_of_a_long_answer_gives_the_thread_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "_IDLE", 4)  # an honest reader on a busy machine is quicker
    monkeypatch.setattr(http_server, "_CHECK", 0)

    def answers(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield from [b"x" * 1024 * 1024] * (64 if environ["PATH_INFO"] == "/long" else 1)

    listening_on = socket.create_server(("127.0.0.1", 0))
    port = listening_on.getsockname()[1]
    with serving(answers, listening_on, threads=1, name="pages"), connections(port, 1) as (greedy,):
        greedy.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        assert greedy.recv(1) == b"H"
        assert len(requests.get(f"http://127.0.0.1:{port}/short", timeout=20).content) == 1024 * 1024


def pages_answer(pages: Pages) -> None:
    """Again and again, and not by luck: each of the processes has had its turn."""
    for _ in range(20):
        assert requests.get(f"{pages.url}/health", timeout=20).ok
        assert "csrf_token" in requests.get(f"{pages.url}/sign-in", timeout=20).text


def tried_from(database: Database, pages: Pages, chain: Sequence[str], name: str = "X-Forwarded-For") -> set[str]:
    """The networks that a wrong password is counted for, of those it could be."""
    with database.write() as session:
        session.query(Tries).delete()
    browser = requests.Session()
    token = TOKEN.search(browser.get(f"{pages.url}/sign-in", timeout=20).text)
    assert token
    body = f"csrf_token={token[1]}&email=a%40example.com&password=wrong&submit=1".encode()
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies)
    lines = [
        "POST /sign-in HTTP/1.1", f"Host: 127.0.0.1:{pages.port}", f"Cookie: {cookies}", "Connection: close",
        "Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for value in chain),
    ]  # fmt: skip
    with socket.create_connection(("127.0.0.1", pages.port), 20) as line:
        line.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        assert line.recv(12) == b"HTTP/1.1 200"
    possible = {network_of(one.strip()) for value in chain for one in value.split(",")} | {"127.0.0.1"}
    with database.read() as session:
        counted = {row.key_hash for row in session.query(Tries)}
    return {one for one in possible if Bucket(NETWORK, one).key_hash in counted}


@contextmanager
def connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(count)]


@contextmanager
def dripping(half_sent: list[socket.socket]) -> Iterator[None]:
    """A byte to each, now and then."""
    enough, dripped = threading.Event(), threading.Event()

    def drip() -> None:
        while not enough.wait(0.05):
            for each in half_sent:
                try:
                    each.send(b"x")
                except OSError:
                    continue
            dripped.set()

    thread = threading.Thread(target=drip)
    thread.start()
    wait_until(dripped.is_set, "all have begun")
    try:
        yield
    finally:
        enough.set()
        thread.join()
