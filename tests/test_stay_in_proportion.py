"""Eight times the text takes about eight times the work, also for whoever wants the hub to be busy for minutes."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from pbxhub.account.email_addresses import normalised
from pbxhub.redaction import redact_text, redact_url, scrub
from pbxhub.steering.number_rules import Rules
from pbxhub.webhooks.matching import MOST_FILTERS, compile_filters
from pbxhub.webhooks.rendering import LARGEST_REQUEST
from pbxhub.webhooks.request import LARGEST_TEMPLATE, NotSent, compile_request
from pbxhub.webhooks.spec import Filter, Parameter, RequestSpec, SpecError, WebhookSpec
from pbxhub.webhooks.template import MOST_MISTAKES, TemplateError, compile_template
from pbxhub.webhooks.urls import compile_url

GROWTH = 8
SMALLEST = 0.003  # seconds of CPU: what is quicker is not measured


def request(**parts: Any) -> RequestSpec:
    return RequestSpec(url="https://example.com/", method="POST", **parts)


def compiled(**parts: Any) -> Any:
    try:
        return compile_request(WebhookSpec(request=request(**parts)))
    except SpecError as error:
        return error


def xml(text: str) -> Any:
    return compiled(format="xml", text=text)


def rendered(template: str, value: str, **parts: Any) -> Any:
    made = compile_request(WebhookSpec(request=request(text=template, **parts)))
    return made.render({"caller_name": value})


def accepts(check: Callable[[str], Any], text: str) -> Any:
    try:
        return check(text)
    except (TemplateError, SpecError) as error:
        return error


# what a text of so many pieces is made of, and who has to read it; the large one is as large as a limit allows
READERS: dict[str, tuple[Callable[[int], Any], int]] = {
    "an address of question marks": (lambda n: redact_url("https://a.example/" + "?" * n), 8_000),
    "an address of one long name": (lambda n: redact_url("https://a.example/?" + "token" * n), 1_600),
    "an address of long names": (lambda n: redact_url("https://a.example/?" + "&tokentokentoken" * n), 500),
    "an address of tokens": (lambda n: redact_url("https://a.example/" + "a1b2c3d4e5f6g7h8/" * n), 480),
    "an address of hosts": (lambda n: redact_url("://hook." * n), 1_000),
    "an answer of one long word": (lambda n: redact_text(" " + "token" * n), 4_000),
    "an answer of quoted words": (lambda n: redact_text('"' + "token" * n), 4_000),
    "an answer of quotes": (lambda n: redact_text('"token":"' * n), 2_200),
    "an answer of tags": (lambda n: redact_text("<token " * n), 2_900),
    "an answer of lines": (lambda n: redact_text("\ntoken" * n), 3_400),
    "an answer of addresses": (lambda n: redact_text("https://a.example/?" * n), 1_000),
    "an answer of spaces": (lambda n: redact_text("Bearer" + " " * n), 20_000),
    "an answer full of the secret": (lambda n: scrub("s3cret" * n, ("s3cret", "other")), 10_000),
    "an XML of comments without an end": (lambda n: xml("<a>" + "<!--" * n + "</a>"), 16_000),
    "an XML of instructions without an end": (lambda n: xml("<a>" + "<?" * n + "</a>"), 32_000),
    "an XML of sections": (lambda n: xml("<a>" + "<![CDATA[<<caller>>]]>" * n + "</a>"), 2_900),
    "a text of parameters": (lambda n: compile_template("<<caller>>" * n), 6_400),
    "a text of unclosed parameters": (lambda n: accepts(compile_template, "<<caller" * n), 8_000),
    "a text of brackets": (lambda n: accepts(compile_template, "<" * n), 64_000),
    "a value for a raw body": (lambda n: rendered("<<caller_name>>", "<>&]" * n, format="raw"), 60_000),
    "a value for a form": (
        lambda n: compile_request(
            WebhookSpec(request=request(format="form", parameters=(Parameter("a", value="<<caller_name>>"),)))
        ).render({"caller_name": "й" * n}),
        40_000,
    ),
    "a value for a section": (
        lambda n: rendered("<a><![CDATA[<<caller_name>>]]></a>", "]]>" * n, format="xml"), 20_000,
    ),
    "a value for a filter": (lambda n: rendered("<<caller_name|digits|sha256>>", "1a" * n, format="raw"), 60_000),
    "a host of labels": (lambda n: accepts(compile_url, "https://" + "a-" * n + "!/"), 4_000),
    "an e-mail address of dots": (lambda n: normalised("a@" + "." * n + "@"), 1_000_000),
    "a number for a dial plan": (lambda n: Rules(("_" + "[0-9]" * 200 + ".",)).refuses("0" * n), 8_000),
}  # fmt: skip


def work(read: Callable[[int], Any], size: int) -> float:
    """Seconds of this thread's CPU, the least of three."""
    took = []
    for _ in range(3):
        began = time.thread_time()
        read(size)
        took.append(time.thread_time() - began)
    return min(took)


@pytest.mark.parametrize("name", READERS)
def test_the_work_grows_with_the_text_and_no_faster(name: str) -> None:
    read, largest = READERS[name]
    small, large = work(read, largest // GROWTH), work(read, largest)
    assert large < 3 * GROWTH * max(small, SMALLEST)  # were it the square: 8 * GROWTH


def test_a_webhook_that_is_too_large_is_refused_before_it_is_read() -> None:
    text = "<<nobody_knows_this>>" * (2 * LARGEST_TEMPLATE // 20)
    error = compiled(format="raw", text=text)
    assert isinstance(error, SpecError)
    assert ["bytes of text" in str(one.message) for one in error.errors] == [True]


def test_the_first_mistakes_of_a_text_are_enough() -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template("".join(f"<<nobody_knows_{n}>>" for n in range(1000)))
    assert len(caught.value.messages) == MOST_MISTAKES


def test_a_webhook_has_no_more_filters_than_anybody_needs() -> None:
    with pytest.raises(SpecError, match=str(MOST_FILTERS)):
        compile_filters(WebhookSpec(filters=(Filter("nobody_knows_this", "equals", "x"),) * (MOST_FILTERS + 1)))


def test_a_long_name_before_many_fields_ends_where_the_request_would_be_too_large() -> None:
    fields = tuple(Parameter(f"a{n}", value="x") for n in range(480))
    parent = Parameter("{{" + "й" * 16_000 + "}}", type="object", children=fields)
    made = compile_request(WebhookSpec(request=request(format="form", parameters=(parent,))))
    found = made.render({})
    assert isinstance(found, NotSent)
    assert str(LARGEST_REQUEST) in found.sentence
