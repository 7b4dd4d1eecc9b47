"""Whatever a caller is called, the receiver reads the structure that the user has set up."""

import http.client
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import defusedxml.ElementTree
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbxhub.webhooks.rendered_request import NotSent, Request
from pbxhub.webhooks.request import compile_request
from pbxhub.webhooks.spec import Field, Parameter, RequestSpec, SpecError, WebhookSpec
from tests.support.random_trees import (
    ANY_NAME,
    DATA,
    FORM_NAME,
    HOSTILE,
    PLAIN,
    TEXTS,
    XML_NAME,
    Leaf,
    Planted,
    as_json,
    as_text,
    as_xml,
    clean,
    expected,
    numbered,
    parse_brackets,
    parse_element,
    shapes,
)  # fmt: skip

EXAMPLES = 2_000 if os.environ.get("CI") else 150  # of each of five trees: 10,000 random trees in CI
thorough = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def render(values: dict[str, Any], **request: Any) -> Request:
    compiled = compile_request(WebhookSpec(RequestSpec(**{"url": "http://r.example/h", **request})))
    result = compiled.render(values)
    assert isinstance(result, Request), result
    return result


def planted(shape: Any, **request: Any) -> Request:
    tree = Planted()
    parameters = tree.children(shape)
    top = "array" if isinstance(shape, list) else "object"
    return render(tree.values, parameters=parameters, top=top, **request)


@pytest.mark.timeout(1800)
@thorough
@given(shapes(ANY_NAME, DATA))
def test_json_reads_back_as_the_values_put_in(shape: Any) -> None:
    assert json.loads(planted(shape).body) == expected(shape, as_json)


@pytest.mark.timeout(1800)
@thorough
@given(shapes(ANY_NAME, DATA))
def test_json_rpc_reads_back_as_the_values_put_in(shape: Any) -> None:
    call = json.loads(planted(shape, format="json-rpc", rpc_method="m").body)
    assert {name: call[name] for name in ("jsonrpc", "method", "id")} == {"jsonrpc": "2.0", "method": "m", "id": "d-1"}
    assert call.get("params", [] if isinstance(shape, list) else {}) == expected(shape, as_json)


@pytest.mark.timeout(1800)
@thorough
@given(shapes(FORM_NAME, DATA))
def test_a_form_reads_back_as_the_values_put_in(shape: Any) -> None:
    body = planted(shape, format="form").body.decode("ascii")
    assert parse_brackets(body) == numbered(expected(shape, as_text))


@pytest.mark.timeout(1800)
@thorough
@given(shapes(FORM_NAME, PLAIN.filter(lambda value: value not in HOSTILE[-1:])))
def test_a_query_reads_back_as_the_values_put_in(shape: Any) -> None:
    url = planted(shape, method="GET", format="form", url="http://r.example/h?own=1").url
    assert url.isascii()
    assert url.startswith("http://r.example/h?own=1")
    query = urlsplit(url).query.removeprefix("own=1").removeprefix("&")
    assert parse_brackets(query.replace("+", "%2B")) == numbered(expected(shape, as_text))


@pytest.mark.timeout(1800)
@thorough
@given(shapes(XML_NAME, DATA))
def test_xml_reads_back_as_the_values_put_in(shape: Any) -> None:
    root = defusedxml.ElementTree.fromstring(planted(shape, format="xml").body)
    assert root.tag == "request"
    assert parse_element(root, shape) == expected(shape, as_xml)


@thorough
@given(TEXTS, TEXTS)
def test_free_xml_and_attributes_read_back_as_the_values_put_in(first: str, second: str) -> None:
    body = render(
        {"caller_name": first, "queue": second}, format="xml", text="<a x='<<queue>>'>[<<caller_name>>]<b/></a>"
    ).body
    root = defusedxml.ElementTree.fromstring(body)
    assert (root.get("x"), root.text) == (as_xml(second), f"[{as_xml(first)}]")


BRACKETS = st.text("]>[<!&\r\nC", max_size=8)


@thorough
@given(TEXTS | BRACKETS, BRACKETS)
def test_a_cdata_section_reads_back_as_the_values_put_in(first: str, second: str) -> None:
    text = "<a><!-- <![CDATA[ --><b><![CDATA[<<caller_name>>]]></b><c><![CDATA[]]<<caller_name>><<queue>>>]]]></c></a>"
    body = render({"caller_name": first, "queue": second}, format="xml", text=text).body
    root = defusedxml.ElementTree.fromstring(body)
    read = [(element.tag, element.text or "") for element in root]
    assert read == [("b", as_xml(first)), ("c", f"]]{as_xml(first)}{as_xml(second)}>]")]


def test_xml_in_utf_8_may_say_so() -> None:
    text = "<?xml version='1.0' encoding='utf-8'?><a><<caller_name>></a>"
    assert render({"caller_name": "Анна"}, format="xml", text=text).body.decode().endswith("<a>Анна</a>")


@thorough
@given(TEXTS)
def test_a_path_and_a_query_of_the_url_hold_their_value(text: str) -> None:
    compiled = compile_request(
        WebhookSpec(RequestSpec("GET", "http://r.example/a/<<caller_name>>/z?q=<<caller_name>>&end=1", "none"))
    )
    result = compiled.render({"caller_name": text})
    if isinstance(result, NotSent):
        assert text in (".", "..") or len(text) > 1000
        return
    parts = urlsplit(result.url)
    assert len(parts.path.split("/")) == 4
    assert parse_qsl(parts.query, keep_blank_values=True) == [("q", clean(text)), ("end", "1")]


@thorough
@given(TEXTS)
def test_a_header_value_is_one_line_or_refused(text: str) -> None:
    compiled = compile_request(
        WebhookSpec(RequestSpec(url="http://r.example/", headers=(Field("X-Name", "<<caller_name>>"),)))
    )
    result = compiled.render({"caller_name": text})
    if isinstance(result, Request):
        for _, value in result.headers:
            assert value.encode("latin-1")
            assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in value)
    else:
        assert result.code == "render_error"
        assert result.sentence.startswith("headers.X-Name: ")


@pytest.mark.parametrize(
    "text", ["{{caller}}", "{% if x %}", "${caller}", "%(caller)s", "#{x}", "<%= x %>", "{caller}"]
)
def test_other_template_languages_stay_text_in_templates_and_values(text: str) -> None:
    body = render(
        {"caller_name": text}, parameters=(Parameter("a", value=text), Parameter("b", value="<<caller_name>>"))
    ).body
    assert json.loads(body) == {"a": text, "b": text}


def test_a_value_that_looks_like_a_placeholder_is_never_expanded() -> None:
    values = {
        "caller_name": "<<queue>>",
        "queue": "<<caller_name>>",
        "custom.a": "<",
        "custom.b": "<caller>>",
        "caller": "NO",
    }
    parameters = (
        Parameter("a", value="<<caller_name>>|<<queue>>"),
        Parameter("b", value="<<custom.a>><<custom.b>>"),
        Parameter("c", value="<<caller_name|upper|lower>>"),
        Parameter("d", value="<<none.such|default:x>>".replace("none.such", "var.none")),
    )
    assert json.loads(render(values, parameters=parameters).body) == {
        "a": "<<queue>>|<<caller_name>>",
        "b": "<<caller>>",
        "c": "<<queue>>",
        "d": "x",
    }


@pytest.mark.parametrize("format_name", ["json", "json-rpc", "form", "xml"])
def test_an_injection_by_a_caller_name_stays_inside_its_field(format_name: str) -> None:
    for name in HOSTILE:
        shape = {"name": Leaf(name), "role": Leaf("user")}
        request = planted(shape, format=format_name, rpc_method="m" if format_name == "json-rpc" else "")
        if format_name == "form":
            assert parse_brackets(request.body.decode()) == numbered(expected(shape, as_text))
        elif format_name == "xml":
            assert parse_element(defusedxml.ElementTree.fromstring(request.body), shape) == expected(shape, as_xml)
        else:
            data = json.loads(request.body)
            assert (data if format_name == "json" else data["params"]) == expected(shape, as_json)


def test_a_ten_kilobyte_name_arrives_whole_and_a_megabyte_is_refused() -> None:
    assert json.loads(
        render({"caller_name": "я" * 10_000}, parameters=(Parameter("n", value="<<caller_name>>"),)).body
    ) == {"n": "я" * 10_000}
    compiled = compile_request(
        WebhookSpec(RequestSpec(url="http://r.example/", parameters=(Parameter("n", value="<<caller_name>>"),)))
    )
    result = compiled.render({"caller_name": "x" * 1_000_000})
    assert result == NotSent("render_error", "the request has 1000053 bytes; at most 262144 are sent")


@pytest.mark.parametrize("number", ["+79161234567", "007", "1.5", "1e3", str(2**70), "-0", "0.10"])
def test_a_number_written_as_a_text_arrives_letter_by_letter(number: str) -> None:
    for format_name, read in (("json", json.loads), ("form", lambda body: parse_brackets(body.decode()))):
        body = render({"var.N": number}, format=format_name, parameters=(Parameter("n", value="<<var.N>>"),)).body
        assert read(body) == {"n": number}


def test_no_entity_is_resolved_or_sent() -> None:
    bomb = '<!DOCTYPE a [<!ENTITY x "<<caller>>">]><a>&x;</a>'
    with pytest.raises(SpecError, match="DOCTYPE"):
        compile_request(WebhookSpec(RequestSpec(url="http://r.example/", format="xml", text=bomb)))


def test_an_unknown_placeholder_is_refused_when_it_is_saved() -> None:
    with pytest.raises(SpecError, match="did you mean caller_name"):
        compile_request(WebhookSpec(RequestSpec(url="http://r.example/<<caler_name>>")))


@pytest.mark.parametrize(
    "template",
    ["<<caller_name|upper>>" * 3000, "<<caller_name|sha256>>" * 2900, "<<caller_name|json>>" * 3000, "<<legs>>" * 6000],
)
def test_a_template_bomb_is_stopped_in_bounded_time(template: str) -> None:
    values = {"caller_name": "x" * 200_000, "legs": [{"n": "y" * 1000}] * 100}
    compiled = compile_request(
        WebhookSpec(RequestSpec(url="http://r.example/", parameters=(Parameter("n", value=template),)))
    )
    started = time.process_time()
    result = compiled.render(values)
    assert isinstance(result, NotSent)
    assert result.sentence == "parameters.n: the values are too long; a request may have 256 KB"
    assert time.process_time() - started < 1


@pytest.mark.parametrize("levels", [100, 101, 10_000])
def test_a_value_may_be_nested_a_hundred_levels_deep(levels: int) -> None:
    deep: Any = []
    for _ in range(levels - 1):
        deep = [deep]
    compiled = compile_request(
        WebhookSpec(RequestSpec(url="http://r.example/", parameters=(Parameter("n", value="<<custom.x>>"),)))
    )
    result = compiled.render({"custom.x": deep})
    if levels == 100:
        assert isinstance(result, Request)
        assert result.body.count(b"[") == 100
    else:
        assert result == NotSent("render_error", "parameters.n: the value is nested deeper than 100 levels")


def test_values_that_are_not_finite_and_times_inside_lists() -> None:
    values: dict[str, Any] = {
        "custom.x": [float("nan"), float("inf"), 1.5, {"t": datetime(2026, 5, 14, 10, 30, 10, tzinfo=UTC)}],
        "custom.n": float("nan"),
    }
    parameters = (
        Parameter("x", value="<<custom.x>>"),
        Parameter("n", value="<<custom.n>>"),
        Parameter("s", value="<<custom.n>>!"),
    )
    body = json.loads(render(values, parameters=parameters, date_format="unix").body)
    assert body == {"x": [None, None, 1.5, {"t": 1778754610}], "n": None, "s": "!"}


class Received(BaseHTTPRequestHandler):
    """Keeps every request as it came in."""

    protocol_version = "HTTP/1.1"
    kept: list[tuple[str, str, dict[str, str], bytes]]

    def take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.kept.append((self.command, self.path, dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = take

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[tuple[int, list[tuple[str, str, dict[str, str], bytes]]]]:
    handler = type("Handler", (Received,), {"kept": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_port, handler.kept  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def send(port: int, request: Request) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    parts = urlsplit(request.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection.request(request.method, target, request.body or None, dict(request.headers))
    assert connection.getresponse().status == 204
    connection.close()


def test_a_real_receiver_reads_the_structure_unchanged(receiver: tuple[int, list[Any]]) -> None:
    port, kept = receiver
    for name in HOSTILE:
        shape = {"a": [Leaf(name), {"b": Leaf(name)}], "role": Leaf("user")}
        for format_name in ("json", "form", "xml"):
            send(port, planted(shape, format=format_name, method="PUT"))
        if len(name) < 1000:
            send(port, planted(shape, format="form", method="GET"))
        (method, path, headers, body), form, xml, *query = kept
        assert (method, path, headers["Content-Type"]) == ("PUT", "/h", "application/json")
        assert json.loads(body) == expected(shape, as_json)
        assert parse_brackets(form[3].decode()) == numbered(expected(shape, as_text))
        assert parse_element(defusedxml.ElementTree.fromstring(xml[3]), shape) == expected(shape, as_xml)
        for _, target, _, empty in query:
            assert empty == b""
            assert parse_brackets(target.removeprefix("/h?").replace("+", "%2B")) == numbered(expected(shape, as_text))
        kept.clear()


@settings(max_examples=EXAMPLES // 10, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_template_or_a_refusal_with_its_position(text: str) -> None:
    spec = WebhookSpec(RequestSpec(url="http://r.example/", format="raw", text=text))
    try:
        compiled = compile_request(spec)
    except SpecError as error:
        messages = [problem.message for problem in error.errors]
    else:
        messages = []
        assert isinstance(compiled.render({}), Request)
    assert all("character" in message for message in messages)
