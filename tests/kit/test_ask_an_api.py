"""An integrator sends HTTP requests to an API and asserts on the answers."""

import json

import pytest

from pbxhub.testing import MockServer, drip, expect, http, in_turn, json_response, reset, text_response
from pbxhub.testing.http_call import NotReachableError
from pbxhub.testing.json_path import PathMissingError
from pbxhub.testing.receivers import misbehaving as zoo


@pytest.fixture
def api():
    with MockServer() as server:
        yield server


def test_an_object_goes_as_json_with_its_content_type(api):
    http("post", f"{api.url}/calls", body={"to": "+380441234567", "tags": ["a"]})
    request = api.last_request("/calls")
    assert request.method == "POST"
    assert request.header("content-type") == "application/json"
    assert json.loads(request.body) == {"to": "+380441234567", "tags": ["a"]}


def test_a_content_type_of_the_caller_stays(api):
    http("POST", api.url + "/", body=[1], headers={"content-type": "application/vnd.calls+json"})
    assert api.last_request("/").header("Content-Type") == "application/vnd.calls+json"


def test_text_and_bytes_go_as_they_are(api):
    http("PUT", api.url + "/t", body="Іван")
    http("PUT", api.url + "/b", body=b"\x00\xff")
    assert api.last_request("/t").content == "Іван".encode()
    assert api.last_request("/t").header("Content-Type") is None
    assert api.last_request("/b").content == b"\x00\xff"


def test_the_answer_has_status_body_and_headers_in_any_case(api):
    api.respond("GET", "/x", text_response("привіт", 201, headers={"X-Call": "7"}))
    answer = http("GET", api.url + "/x")
    assert (answer.status, answer.body) == (201, "привіт")
    assert answer.header("x-call") == answer.header("X-CALL") == "7"
    assert answer.header("x-none") is None


def test_a_dotted_path_walks_objects_and_arrays(api):
    api.respond("GET", "/x", json_response({"a": {"b": [{"c": 5}, {"c": None}]}}))
    answer = http("GET", api.url + "/x")
    assert answer.json("a.b.0.c") == 5
    assert answer.json("a.b.1.c") is None
    assert answer.json() == {"a": {"b": [{"c": 5}, {"c": None}]}}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("a.x", "at a there is an object with b"),
        ("a.b.2", "at a.b there is an array of 1"),
        ("a.b.last", "at a.b there is an array of 1"),
        ("a.b.-1", "at a.b there is an array of 1"),
        ("a.b.+0", "at a.b there is an array of 1"),
        ("a.b. 0", "at a.b there is an array of 1"),
        ("a.b.٠", "at a.b there is an array of 1"),
        ("a.b.0.c", "at a.b.0 there is 7"),
        ("z", "at the top there is an object with a"),
    ],
)
def test_a_missing_path_shows_what_there_was(api, path, shown):
    api.respond("GET", "/x", json_response({"a": {"b": [7]}}))
    with pytest.raises(PathMissingError) as caught:
        http("GET", api.url + "/x").json(path)
    assert shown in str(caught.value)
    assert repr(path) in str(caught.value)


def test_a_body_that_is_not_json_is_shown(api):
    api.respond("GET", "/x", text_response("<html>oops"))
    with pytest.raises(PathMissingError, match=r"is not JSON.*<html>oops"):
        http("GET", api.url + "/x").json("a")


def test_a_wrong_status_shows_both_and_the_body(api):
    api.respond("GET", "/x", text_response("token expired", 401))
    with pytest.raises(AssertionError, match=r"GET .*/x: expected status 200, got 401 with body 'token expired'"):
        http("GET", api.url + "/x").expect_status(200)
    assert http("GET", api.url + "/x").expect_status(401).body == "token expired"


def test_a_redirect_is_shown_and_not_followed(api):
    api.respond("GET", "/x", text_response("", 302, headers={"Location": "/y"}))
    answer = http("GET", api.url + "/x")
    assert (answer.status, answer.header("location")) == (302, "/y")
    assert api.request_count("/y") == 0


def test_an_api_that_is_down_is_a_sentence(api):
    port = api.port
    api.stop()
    with pytest.raises(NotReachableError, match="nothing listens there"):
        http("GET", f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("animal", "said"),
    [
        (zoo.truncates, "no answer: .*[Ii]ncomplete"),
        (zoo.truncates_chunks, "no answer: the connection ended in the middle of the body"),
        (zoo.resets_in_body, "no answer: .*reset by peer"),
        (zoo.sends_bomb("gzip", b"no gzip"), "no answer: its body is not compressed as it says"),
        (zoo.is_no_http, "no answer: "),
        (zoo.slams, "no answer: "),
        (zoo.hangs, r"no answer: silence for 0\.3s"),
    ],
)
def test_an_answer_that_breaks_off_is_a_sentence(animal, said):
    with zoo.Cage(animal) as cage, pytest.raises(NotReachableError, match=said):
        http("GET", cage.url + "/", timeout="300ms")


@pytest.mark.slow
def test_a_body_that_falls_silent_is_a_sentence(api):
    api.respond("GET", "/x", drip(text_response("abc"), every="2s"))
    with pytest.raises(NotReachableError, match=r"no answer: silence for 0\.2s"):
        http("GET", api.url + "/x", timeout="200ms")
    api.respond("GET", "/x", reset(text_response("abc"), after=1))
    with pytest.raises(NotReachableError, match="no answer"):
        http("GET", api.url + "/x")


@pytest.mark.parametrize("url", ["http://", "nohost", "ftp://127.0.0.1/", "http://a b/", "http://127.0.0.1:99999/"])
def test_a_url_that_is_none_is_told(url):
    with pytest.raises(ValueError, match=r"GET .*: the request cannot be sent: "):
        http("GET", url)


def test_a_header_that_is_none_is_told(api):
    with pytest.raises(ValueError, match=r"the request cannot be sent: "):
        http("GET", api.url, headers={"X-A": "a\r\nX-B: c"})


@pytest.mark.parametrize("timeout", [0, "0s", -1])
def test_a_timeout_of_nothing_is_refused(api, timeout):
    with pytest.raises(ValueError, match=r"is no limit|is not a duration"):
        http("GET", api.url, timeout=timeout)


def test_a_proxy_of_the_machine_is_not_used(api, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    api.respond("GET", "/x", 204)
    assert http("GET", api.url + "/x").status == 204


def test_several_requests_meet_staged_answers(api):
    api.on("GET", "/x", in_turn(503, 429, json_response({"ok": True})))
    statuses = [http("GET", api.url + "/x").status for _ in range(4)]
    expect(statuses).equals([503, 429, 200, 200])
