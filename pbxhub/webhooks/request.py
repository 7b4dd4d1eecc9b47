"""Renders the exact request for a webhook and a call, or says why there is none."""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, cast

from pbxhub.calls.stages import Value
from pbxhub.translatable import say
from pbxhub.webhooks import dates
from pbxhub.webhooks.attached import Attached, Coding, cut
from pbxhub.webhooks.body import CONTENT_TYPES, WITHOUT_BODY, compile_body
from pbxhub.webhooks.encoders import percent, query_text
from pbxhub.webhooks.headers import header_name_error, header_value_error
from pbxhub.webhooks.leaves import Node
from pbxhub.webhooks.rendered_request import SKIPPED, NotSent, Request
from pbxhub.webhooks.rendering import LARGEST_REQUEST, Context, MandatoryError, RenderError, to_bytes
from pbxhub.webhooks.spec import Field, RequestSpec, WebhookSpec, each_parameter
from pbxhub.webhooks.spec_json import FieldError, SpecError, join, too_many, wrong_at
from pbxhub.webhooks.template import RECORDING_BASE64, Template, TemplateError, compile_template, literal
from pbxhub.webhooks.tree import compile_tree, template_bytes
from pbxhub.webhooks.urls import LONGEST_URL, Url, compile_url, join_query

__all__ = ["CompiledRequest", "NotSent", "Request", "compile_request", "may_send_recording"]

MOST_HEADERS, MOST_QUERY_FIELDS = 50, 100
LARGEST_TEMPLATE = 64 * 1024
Body = Callable[[Context], bytes]


@dataclass(frozen=True, slots=True)
class CompiledField:
    """A compiled header or query parameter. trim: remove white space at the ends, which HTTP drops in headers. path: as
    in FieldError."""

    name: str
    template: Template
    mandatory: bool
    omit_empty: bool
    path: str
    trim: bool

    def render(self, context: Context) -> str | None:
        """The rendered text; None when the field is left out."""
        try:
            text = self.template.text(context)
            text = text.strip(" ") if self.trim else text
            if self.mandatory and (not text or self.template.is_blank(context)):
                raise MandatoryError(say("is mandatory and empty"))
        except RenderError as error:
            raise error.at(self.path) from None
        return None if self.omit_empty and not text else text


@dataclass(frozen=True, slots=True)
class CompiledRequest:
    """A webhook's compiled request. Compile it once per revision of the webhook, then render it often."""

    method: str
    url: Url
    headers: tuple[CompiledField, ...]
    query: tuple[CompiledField, ...]
    query_tree: Node | None
    body: Body
    write_date: dates.Write
    incomplete: str  # the code when a mandatory field is empty
    base64: Coding | None  # how <<recording_base64>> is written; None when the body does not have it
    attaches: bool  # whether it may send the recording of a call
    own_file: tuple[str, bytes]

    def render(self, values: Mapping[str, Value], zone: tzinfo = UTC, country: str = "") -> Request | NotSent:
        """The request for these parameter values.

        zone: of the project, for its times. country: of the project (ISO 3166), for the filter e164.
        """
        context = Context(values, zone, country, self.write_date)
        try:
            if self.base64:
                mark = context.mark(self.base64) if context.recording else None
                context.values = ChainMap({RECORDING_BASE64: mark}, cast(Any, values))  # reads only
            request = self._request(context)
            size = len(request.body) + len(request.url) + sum(len(name) + len(text) for name, text in request.headers)
            if size > LARGEST_REQUEST:
                raise RenderError(
                    say(
                        "the request has %(size)s bytes; at most %(most)s are sent",
                        size=size,
                        most=LARGEST_REQUEST,
                    )
                )
        except MandatoryError as error:
            return NotSent(self.incomplete, error.sentence)
        except RenderError as error:
            return NotSent(error.code, error.sentence)
        except OverflowError:  # from datetime, when a time zone moves a time outside its calendar
            return NotSent(RenderError.code, say("a time is outside the years 1 to 9999 and cannot be written"))
        return request

    def _request(self, context: Context) -> Request:
        url, body = self._url(context), self.body(context)
        headers, files = self._headers(context), tuple[Attached, ...]()
        if context.content_type:
            headers = (("Content-Type", context.content_type), *headers)
        if self.attaches or self.own_file[1]:
            body, files = cut(body, context.file_key, context.recording, self.own_file)
        return Request(self.method, url, headers, body, files)

    def _url(self, context: Context) -> str:
        fields = ((field.name, field.render(context)) for field in self.query)
        query = "&".join([f"{percent(name)}={percent(text)}" for name, text in fields if text is not None])
        url = join_query(self.url.render(context), query)
        if self.query_tree is not None:
            url = join_query(url, query_text(self.query_tree(context), context))
        if len(url) > LONGEST_URL:
            raise RenderError(
                say(
                    "url: has %(count)s characters, at most %(longest)s are allowed; use POST and a body",
                    count=len(url),
                    longest=LONGEST_URL,
                )
            )
        return url

    def _headers(self, context: Context) -> tuple[tuple[str, str], ...]:
        return tuple(
            (field.name, _header_value(text, field.path))
            for field in self.headers
            if (text := field.render(context)) is not None
        )


def _header_value(text: str, path: str) -> str:
    if message := header_value_error(text):
        raise RenderError(say("%(path)s: %(problem)s", path=path, problem=message))
    return text


def compile_request(spec: WebhookSpec) -> CompiledRequest:
    """Compiles a request. Raises SpecError with every wrong field."""
    request = spec.request
    errors = list(_check_size(request))
    if errors:  # before compiling, because a request that is too large would take too long
        raise SpecError(errors)
    url = _url(request, errors)
    headers, query = _headers(request, errors), _query(request, errors)
    errors.extend(_misplaced_base64(spec))
    tree, in_query = _tree(request, errors), request.method in WITHOUT_BODY
    body = compile_body(request, tree, errors)
    if request.date_format == "pattern" and (message := dates.pattern_error(request.date_pattern)):
        errors.append(FieldError("date_pattern", message))
    if errors or url is None:
        raise SpecError(errors)
    write_date = dates.writer(request.date_format, request.date_pattern)
    query_tree = tree if in_query and request.format in ("json", "form") else None
    skips = spec.incomplete == "skip" and spec.steering is None  # a call that waits gets an answer in any case
    incomplete = SKIPPED if skips else MandatoryError.code
    base64: Coding | None = None
    if any(_has_base64(text) for _, text in _body_texts(request)):
        base64 = "form" if request.format == "form" else "base64"
    attaches = may_send_recording(request)
    own_file = (request.file_name or "file", request.file) if request.format == "multipart" else ("", b"")
    return CompiledRequest(
        request.method, url, headers, query, query_tree, body, write_date, incomplete, base64, attaches, own_file
    )


def _body_texts(request: RequestSpec) -> Iterator[tuple[str, str]]:
    """Path and text of everything that is written into the body."""
    yield from (("text", request.text), ("rpc_method", request.rpc_method))
    yield from ((path, item.value) for path, item in each_parameter(request.parameters))


def may_send_recording(request: RequestSpec) -> bool:
    """Whether the request may have the recording of its call in it. Compiles nothing: a claim asks this."""
    return _sends_recording(request) or any(RECORDING_BASE64 in text for _, text in _body_texts(request))


def _sends_recording(request: RequestSpec) -> bool:
    return any(item.type == "recording" for _, item in each_parameter(request.parameters))


def _has_base64(text: str) -> bool:
    if RECORDING_BASE64 not in text:
        return False
    try:
        return any(slot.name == RECORDING_BASE64 for slot in compile_template(text).slots)
    except TemplateError:
        return False


def _misplaced_base64(spec: WebhookSpec) -> Iterator[FieldError]:
    """<<recording_base64>> outside a body, and files in a request whose answer a call waits for."""
    request = spec.request
    inside = [path for path, text in _body_texts(request) if _has_base64(text)]
    outside = [("url", request.url)]
    outside += [(join("headers", item.name), item.value) for item in request.headers]
    outside += [(join("query", item.name), item.value) for item in request.query]
    wrong = [path for path, text in outside if _has_base64(text)]
    if request.method in WITHOUT_BODY or "rpc_method" in inside:
        wrong += inside
    for path in wrong:
        yield wrong_at(path, "has <<recording_base64>>, which only a body can carry; use POST and a body")
    if spec.steering is not None and (inside or _sends_recording(request)):
        yield wrong_at("parameters", "send the recording, but a call that waits for an answer has none yet")


def _url(request: RequestSpec, errors: list[FieldError]) -> Url | None:
    try:
        return compile_url(request.url)
    except TemplateError as error:
        errors.extend(FieldError("url", message) for message in error.messages)
        return None


def _tree(request: RequestSpec, errors: list[FieldError]) -> Node:
    """The compiled tree. A query has no types, so it is compiled like a form."""
    as_form = request.method in WITHOUT_BODY and request.format == "json"
    name = request.file_name or "file"
    return compile_tree(request.parameters, request.top, "form" if as_form else request.format, errors, name)


def _headers(request: RequestSpec, errors: list[FieldError]) -> tuple[CompiledField, ...]:
    errors += too_many(
        "headers", len(request.headers), MOST_HEADERS, "has %(count)s headers; at most %(most)s are sent"
    )
    fields = [
        _field(item, "headers", index, item.empty != "empty", errors) for index, item in enumerate(request.headers)
    ]
    seen: set[str] = set()
    for item, field in zip(request.headers, fields, strict=True):
        if message := header_name_error(item.name):
            errors.append(FieldError(field.path, message))
        elif item.name.lower() in seen:
            errors.append(wrong_at(field.path, "%(name)s occurs twice", name=item.name))
        if message := header_value_error(field.template.literal):
            errors.append(FieldError(field.path, message))
        seen.add(item.name.lower())
    by_body = request.method in WITHOUT_BODY or request.format == "multipart"  # which has no body, or makes its own
    default = None if by_body else CONTENT_TYPES.get(request.format)
    if default and request.content_type and "content-type" not in seen:
        fields.insert(0, CompiledField("Content-Type", literal(default), False, True, "headers.Content-Type", True))
    return tuple(fields)


def _query(request: RequestSpec, errors: list[FieldError]) -> tuple[CompiledField, ...]:
    errors += too_many(
        "query", len(request.query), MOST_QUERY_FIELDS, "has %(count)s parameters; at most %(most)s are sent"
    )
    for index, item in enumerate(request.query):
        if not item.name:
            errors.append(wrong_at(f"query[{index}]", "has no name; give one"))
    return tuple(_field(item, "query", index, item.empty == "omit", errors) for index, item in enumerate(request.query))


def _field(item: Field, group: str, index: int, omit_empty: bool, errors: list[FieldError]) -> CompiledField:
    path = join(group, item.name or f"[{index}]")
    if item.empty == "null":
        errors.append(wrong_at(path, "cannot be null; send an empty text or omit the field"))
    try:
        template = compile_template(item.value)
    except TemplateError as error:
        errors.extend(FieldError(path, message) for message in error.messages)
        template = literal("")
    return CompiledField(item.name, template, item.mandatory, omit_empty, path, group == "headers")


def _check_size(request: RequestSpec) -> Iterator[FieldError]:
    texts = [request.url, request.text, request.file_name, request.rpc_method, request.xml_root, request.date_pattern]
    texts += [text for item in (*request.headers, *request.query) for text in (item.name, item.value)]
    size = sum(len(to_bytes(text)) for text in texts) + template_bytes(request.parameters)
    if size > LARGEST_TEMPLATE:
        why = say(
            "the webhook has %(size)s bytes of text; at most %(most)s are allowed", size=size, most=LARGEST_TEMPLATE
        )
        yield FieldError("", why)
    yield from too_many("file", len(request.file), LARGEST_REQUEST, "has %(count)s bytes; at most %(most)s are sent")
