"""An integrator stands a mock server up, points a system at it and looks at what arrived."""

import base64
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests

from pbxhub.sending.webhook_signatures import SigningKeys, identify
from pbxhub.testing import (
    MockAnswer,
    MockServer,
    await_until,
    drip,
    hang,
    http,
    json_response,
    parallel,
    regex,
    reset,
    text_response,
)
from pbxhub.testing.processes import free_port
from pbxhub.testing.receivers.mock_request import SignatureWrongError
from pbxhub.testing.receivers.mock_server import NoRequestError, PortOccupiedError, ResponderFailedError
from pbxhub.webhooks.request import Request


@pytest.fixture
def hooks():
    with MockServer() as server:
        yield server


def body(server: MockServer, method: str, path: str) -> str:
    return http(method, server.url + path).body


def test_a_responder_computes_the_answer_from_the_request(hooks):
    def voice(request):
        kind = "answer" if request.json("event") == "incoming_call" else "hangup"
        return json_response({"actions": [{"type": kind}]})

    hooks.on("POST", "/voice", voice)
    first = http("POST", hooks.url + "/voice", body={"event": "incoming_call"})
    second = http("POST", hooks.url + "/voice", body={"event": "over"})
    assert first.json("actions.0.type") == "answer"
    assert second.json("actions.0.type") == "hangup"
    assert first.header("content-type") == "application/json"


def test_an_exact_path_wins_over_a_pattern_and_a_method_over_any(hooks):
    hooks.respond("*", "/calls/1", text_response("exact, any"))
    hooks.respond("GET", regex("/calls/.*"), text_response("pattern, GET"))
    hooks.respond("*", regex(".*"), text_response("pattern, any"))
    assert body(hooks, "GET", "/calls/1") == "exact, any"
    assert body(hooks, "GET", "/calls/2") == "pattern, GET"
    assert body(hooks, "PUT", "/calls/2") == "pattern, any"
    hooks.respond("GET", "/calls/1", text_response("exact, GET"))
    hooks.respond("*", "/calls/1", text_response("exact, any, later"))
    assert body(hooks, "GET", "/calls/1") == "exact, GET"
    assert body(hooks, "POST", "/calls/1") == "exact, any, later"


def test_a_pattern_must_fit_the_whole_path(hooks):
    hooks.respond("GET", regex("/calls"), 200)
    assert http("GET", hooks.url + "/calls/1").status == 404
    assert hooks.request_count(regex("/calls")) == 0
    assert hooks.request_count(regex("/calls.*")) == 1


def test_registering_again_stages_the_next_answer(hooks):
    hooks.respond("POST", "/voice", text_response("first"))
    assert body(hooks, "POST", "/voice") == "first"
    hooks.respond("POST", "/voice", text_response("second"))
    assert body(hooks, "POST", "/voice") == "second"


def test_a_request_that_fits_nothing_gets_404_and_is_remembered(hooks):
    assert http("DELETE", hooks.url + "/nobody?x=1").status == 404
    assert [str(request) for request in hooks.requests] == ["DELETE /nobody?x=1"]


def test_a_request_shows_all_that_arrived(hooks):
    with socket.create_connection(("127.0.0.1", hooks.port)) as raw:
        raw.sendall(
            b"PATCH /a%20b/%D0%87?q=1+2&empty=&q=3 HTTP/1.1\r\nHost: x\r\nX_Under: yes\r\nX-Two: 1\r\nx-two: 2\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n4\r\n[1,2\r\n1\r\n]\r\n0\r\n\r\n"
        )
        assert raw.recv(1000).startswith(b"HTTP/1.1 404")
    request = hooks.last_request("/a b/Ї")
    assert request.method == "PATCH"
    assert (request.query("q"), request.query("empty"), request.query("none")) == ("1 2", "", None)
    assert (request.header("x_under"), request.header("X-TWO"), request.header("none")) == ("yes", "1, 2", None)
    assert request.json("1") == 2
    assert ("X_Under", "yes") in request.headers


def test_the_last_request_of_a_quiet_path_says_what_arrived_instead(hooks):
    with pytest.raises(NoRequestError, match="no request arrived at /voice; what arrived: nothing"):
        hooks.last_request("/voice")
    http("GET", hooks.url + "/vioce")
    with pytest.raises(NoRequestError, match="what arrived: GET /vioce"):
        hooks.last_request("/voice")


def test_a_request_is_remembered_before_its_responder_runs(hooks):
    seen = []

    def responder(request):
        seen.append(hooks.request_count("/x"))
        return text_response("")

    hooks.on("GET", "/x", responder)
    http("GET", hooks.url + "/x")
    assert seen == [1]


def test_a_responder_that_raises_answers_500_and_the_test_is_told():
    hooks = MockServer()
    hooks.on("POST", "/voice", lambda request: {}["missing"])
    assert http("POST", hooks.url + "/voice").status == 500
    with pytest.raises(ResponderFailedError, match=r"responder for POST /voice raised:(?s:.*)KeyError: 'missing'"):
        hooks.stop()


def test_a_responder_that_returns_no_answer_is_told_too():
    hooks = MockServer()
    hooks.on("POST", "/voice", lambda request: {"actions": []})
    assert http("POST", hooks.url + "/voice").status == 500
    with pytest.raises(ResponderFailedError, match="is no answer: give json_response"):
        hooks.stop()


IMPOSSIBLE = [
    MockAnswer(200, (("X-Bad", "a\r\nb"),)),
    MockAnswer(200, (("X-Bad", 7),)),
    MockAnswer(200, (("X-Bad", "Ї"),)),
    MockAnswer(99),
    MockAnswer("ok"),
    MockAnswer(200, (), "text"),
    drip(MockAnswer(99)),
    reset(MockAnswer(99)),
]


@pytest.mark.parametrize("answer", IMPOSSIBLE)
def test_an_answer_that_http_forbids_is_told(answer):
    hooks = MockServer()
    with pytest.raises((ValueError, TypeError), match=r"cannot be sent|is not bytes"):
        hooks.respond("GET", "/x", answer)
    hooks.on("GET", "/x", lambda _: answer)
    assert http("GET", hooks.url + "/x").status == 500
    with pytest.raises(ResponderFailedError, match=r"cannot be sent|is not bytes"):
        hooks.stop()


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("", "/x", "method=''"),
        ("GET POST", "/x", "method='GET POST'"),
        (None, "/x", "method=None"),
        ("GET", None, "path=None"),
        ("GET", "", "must begin with"),
        ("GET", "/x?a=1", "must end before the query"),
    ],
)
def test_a_route_that_nothing_can_fit_is_refused(hooks, method, path, said):
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        hooks.respond(method, path, 200)
    if path != "/x":
        with pytest.raises(ValueError, match=said):
            hooks.request_count(path)
        with pytest.raises(ValueError, match=said):
            hooks.last_request(path)


def test_a_responder_that_is_none_is_refused(hooks):
    with pytest.raises(TypeError, match="cannot be called"):
        hooks.on("GET", "/x", text_response("ok"))
    with pytest.raises(TypeError, match="is no answer"):
        hooks.respond("GET", "/x", {"ok": True})


def test_a_body_of_a_mebibyte_is_taken_and_a_larger_one_refused(hooks):
    hooks.respond("POST", "/x", 200)
    assert http("POST", hooks.url + "/x", body=b"a" * 1024 * 1024).status == 200
    answer = http("POST", hooks.url + "/x", body=b"a" * (1024 * 1024 + 1))
    assert answer.status == 413
    assert http("POST", hooks.url + "/x", body=b"a" * (9 * 1024 * 1024)).status == 413
    assert "1 MiB" in answer.body
    assert [(request.truncated, len(request.content)) for request in hooks.requests] == [
        (False, 1024 * 1024), (True, 1024 * 1024), (True, 1024 * 1024),
    ]  # fmt: skip


def test_many_requests_at_once_are_all_counted(hooks):
    hooks.respond("POST", "/x", 204)
    answers = parallel(*[lambda: http("POST", hooks.url + "/x").status] * 50)
    assert answers == [204] * 50
    assert hooks.request_count("/x") == 50


def test_one_connection_carries_several_requests(hooks):
    hooks.respond("POST", "/x", text_response("yes"))
    hooks.respond("HEAD", "/x", text_response("yes"))
    with requests.Session() as session:
        session.trust_env = False
        assert [session.post(hooks.url + "/x", data=b"1").text for _ in range(3)] == ["yes"] * 3
        assert session.head(hooks.url + "/x").headers["Content-Length"] == "3"
        assert session.post(hooks.url + "/x", data=b"1").text == "yes"
        assert len(hooks._open) == 1


def test_what_is_not_http_is_answered_400(hooks):
    with socket.create_connection(("127.0.0.1", hooks.port)) as raw:
        raw.sendall(b"\x16\x03\x01\x00\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 400")


@pytest.mark.slow
def test_a_receiver_hangs_for_as_long_as_told(hooks):
    hooks.respond("GET", "/x", hang("300ms"))
    began = time.monotonic()
    with pytest.raises(AssertionError, match="no answer"):
        http("GET", hooks.url + "/x")
    assert 0.3 <= time.monotonic() - began < 15


@pytest.mark.slow
def test_a_receiver_drips_its_body(hooks):
    hooks.respond("GET", "/x", drip(text_response("slow"), every="50ms"))
    began = time.monotonic()
    assert body(hooks, "GET", "/x") == "slow"
    assert time.monotonic() - began >= 0.2


def test_a_receiver_resets_before_or_amid_the_answer(hooks):
    hooks.respond("GET", "/at-once", reset())
    hooks.respond("GET", "/amid", reset(text_response("0123456789"), after=4))
    with socket.create_connection(("127.0.0.1", hooks.port)) as raw:
        raw.sendall(b"GET /at-once HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            raw.recv(1000)
    with pytest.raises(requests.exceptions.RequestException):
        requests.get(hooks.url + "/amid", timeout=5)


def test_stopping_ends_hanging_answers_idle_connections_threads_and_the_port():
    hooks = MockServer(free_port())
    hooks.respond("GET", "/hang", hang())
    idle = socket.create_connection(("127.0.0.1", hooks.port))
    # so many that some are still ending when the server looks which are left
    waiting = [socket.create_connection(("127.0.0.1", hooks.port)) for _ in range(40)]
    for connection in waiting:
        connection.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
    await_until(lambda: hooks.request_count("/hang") == 40)
    began = time.monotonic()
    hooks.stop()
    assert time.monotonic() - began < 15  # it would hang for good
    assert not [thread for thread in threading.enumerate() if thread.name == f"mock-{hooks.port}"]
    for connection in (idle, *waiting):
        assert connection.recv(10) == b""
        connection.close()
    MockServer(hooks.port).stop()  # the port is free again at once


def test_an_occupied_port_says_what_to_do(hooks):
    with pytest.raises(PortOccupiedError, match=f"port {hooks.port} is used by another program"):
        MockServer(hooks.port)
    with pytest.raises(PortOccupiedError, match="70000 is not a port"):
        MockServer(70000)


def test_a_path_without_a_slash_or_a_broken_pattern_is_refused(hooks):
    with pytest.raises(ValueError, match="must begin with"):
        hooks.respond("GET", "voice", 200)
    with pytest.raises(ValueError, match="is not a regular expression"):
        regex("/calls/(")


def test_a_server_listens_on_loopback_only(hooks):
    assert hooks._listening.getsockname()[0] == "127.0.0.1"


KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
OTHER_KEY = "whsec_" + base64.b64encode(b"o" * 32).decode()


def signed(body: str, key: str = KEY, now: datetime | None = None) -> dict[str, str]:
    """The headers that the hub itself would add."""
    request = Request("POST", "http://x/", (), body.encode())
    return dict(identify("msg_1", 1, SigningKeys(key), now or datetime.now(UTC), (request.body,)))


def test_a_signature_is_checked_in_one_call(hooks):
    http("POST", hooks.url + "/x", body='{"caller": "Іван"}', headers=signed('{"caller": "Іван"}'))
    hooks.last_request("/x").check_signature(KEY)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (dict, "Missing required headers"),
        (lambda: signed("hello", OTHER_KEY), "No matching signature found"),
        (lambda: signed("another body"), "No matching signature found"),
        (lambda: signed("hello", now=datetime.now(UTC) - timedelta(minutes=6)), "Message timestamp too old"),
    ],
)
def test_a_wrong_signature_says_why(hooks, headers, said):
    http("POST", hooks.url + "/x", body="hello", headers=headers())
    with pytest.raises(SignatureWrongError, match=f"signature of POST /x does not hold: {said}"):
        hooks.last_request("/x").check_signature(KEY)
