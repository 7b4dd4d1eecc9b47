"""The body of a request for each format: which methods have one, its content, its Content-Type."""

import hashlib
import re
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring as quote_json
from typing import Any

from pbxhub.translatable import say
from pbxhub.webhooks.attached import FilePart, type_of_file
from pbxhub.webhooks.encoders import form_text, json_text, leaves_of, xml_text
from pbxhub.webhooks.free_xml import free_xml, free_xml_problem
from pbxhub.webhooks.leaves import Node
from pbxhub.webhooks.rendering import Context, RenderError, to_bytes
from pbxhub.webhooks.spec import RequestSpec, each_parameter
from pbxhub.webhooks.spec_json import FieldError, wrong_at
from pbxhub.webhooks.template import Template, TemplateError, compile_template, literal
from pbxhub.webhooks.tree import XML_NAME

WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose parameters go into the query."""

CONTENT_TYPES = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "multipart": "multipart/form-data",
    "json-rpc": "application/json",
    "raw": "text/plain",
    "xml": "application/xml",
}

Body = Callable[[Context], bytes]
_ESCAPED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([^\s;\"'<]+)", re.IGNORECASE)


def compile_body(request: RequestSpec, tree: Node, errors: list[FieldError]) -> Body:
    """A function that renders the body for a context. Appends contradictions in the request to errors."""
    errors += _check_parts(request)
    if request.method in WITHOUT_BODY or request.format == "none":
        return lambda _: b""
    if request.format == "raw":
        return _raw(request, errors)
    if request.format == "xml":
        return _free_xml(request.text, errors) if request.text else _xml(request, tree, errors)
    if request.format == "json-rpc":
        return _json_rpc(request, tree, errors)
    if request.format == "multipart":
        return lambda context: multipart(tree(context), context)
    write = json_text if request.format == "json" else form_text
    return lambda context: to_bytes(write(tree(context), context))


def _check_parts(request: RequestSpec) -> Iterator[FieldError]:
    """Refuses settings that the chosen method and format would not send."""
    method, chosen = request.method, say("the format %(format)s", format=request.format)
    if method in WITHOUT_BODY and request.format in ("raw", "xml", "json-rpc", "multipart"):
        why = say(
            "%(method)s has no body, so %(format)s cannot be sent; use POST", method=method, format=request.format
        )
        yield FieldError("format", why)
    if request.parameters and (request.format in ("raw", "none") or (request.format == "xml" and request.text)):
        yield wrong_at("parameters", "are not sent by %(chosen)s; delete them or choose another format", chosen=chosen)
    if request.text and request.format not in ("raw", "xml"):
        yield wrong_at("text", "is not sent by %(chosen)s; delete it or choose raw or xml", chosen=chosen)
    yield from _file_problems(request)
    if request.rpc_method and request.format != "json-rpc":
        yield wrong_at("rpc_method", "is not sent by %(chosen)s; delete it or choose json-rpc", chosen=chosen)
    if method not in WITHOUT_BODY and request.format != "none" and not request.file:
        yield from _charsets(request)


def _file_problems(request: RequestSpec) -> Iterator[FieldError]:
    """Contradictions about the webhook's own file. In multipart, the boundary must stand in the Content-Type."""
    sends = request.format == "multipart" and any(item.type == "file" for _, item in each_parameter(request.parameters))
    if request.file and not sends and (request.format != "raw" or request.text):
        yield wrong_at(
            "file", "is sent only by the format raw without a text, and by a parameter of the type file in multipart"
        )
    if sends and not request.file:
        yield wrong_at("file", "is empty, and a parameter of the type file sends it; choose a file")
    if request.format == "multipart":
        own = any(header.name.lower() == "content-type" for header in request.headers)
        if own or not request.content_type:
            yield wrong_at(
                "headers.Content-Type" if own else "content_type",
                "is set by the format multipart, with its boundary; delete your own",
            )


def _charsets(request: RequestSpec) -> Iterator[FieldError]:
    """Bodies made from texts are UTF-8, so a Content-Type must not declare another charset."""
    for header in request.headers:
        declared = _CHARSET.search(header.value) if header.name.lower() == "content-type" else None
        if declared and declared.group(1).lower() != "utf-8":
            message = say(
                "declares %(value)s, but requests are sent as UTF-8; write charset=utf-8 or delete the header",
                value=declared.group(1),
            )
            yield FieldError(f"headers.{header.name}", message)


def _template(text: str, path: str, errors: list[FieldError]) -> Template:
    try:
        return compile_template(text)
    except TemplateError as error:
        errors.extend(FieldError(path, message) for message in error.messages)
        return literal("")


def _raw(request: RequestSpec, errors: list[FieldError]) -> Body:
    if request.file:
        file = request.file
        return lambda _: file
    return _written(_template(request.text, "text", errors).text)


def _written(text: Callable[[Context], str]) -> Body:
    def write(context: Context) -> bytes:
        try:
            return to_bytes(text(context))
        except RenderError as error:
            raise error.at("text") from None

    return write


def _json_rpc(request: RequestSpec, tree: Node, errors: list[FieldError]) -> Body:
    """JSON-RPC 2.0. The id is the delivery's id, so that an answer in the receiver's log can be traced."""
    if not request.rpc_method:
        errors.append(wrong_at("rpc_method", "is empty; give the name of the remote method"))
    method = _template(request.rpc_method, "rpc_method", errors)
    has_params = bool(request.parameters)

    def write(context: Context) -> bytes:
        params = f',"params":{json_text(tree(context), context)}' if has_params else ""
        call = quote_json(context.text(context.values.get("delivery_id")))
        return to_bytes(f'{{"jsonrpc":"2.0","method":{quote_json(name(context))}{params},"id":{call}}}')

    def name(context: Context) -> str:
        try:
            return method.text(context)
        except RenderError as error:
            raise error.at("rpc_method") from None

    return write


def _xml(request: RequestSpec, tree: Node, errors: list[FieldError]) -> Body:
    root = request.xml_root
    if not XML_NAME.fullmatch(root):
        why = say("%(name)s is not a valid name of an XML element; use letters, digits, _ . -", name=repr(root))
        errors.append(FieldError("xml_root", why))
    return lambda context: to_bytes(xml_text(root, tree(context), context))


def _free_xml(text: str, errors: list[FieldError]) -> Body:
    """The user's own XML, with each value escaped for its place."""
    template = _template(text, "text", errors)
    if template.pieces != ("",) and (message := free_xml_problem(template)):
        errors.append(FieldError("text", message))
        return lambda _: b""
    return _written(free_xml(template))


def multipart(value: Any, context: Context) -> bytes:
    """multipart/form-data (RFC 7578): one part for each leaf, nested names as in a form. The boundary goes into
    context.content_type. It is a hash of the parts and of the key of the marks: no value and no file can contain it."""
    parts = [_part(name, leaf, context) for name, leaf in leaves_of(value)]
    digest = hashlib.sha256(context.file_key.encode())
    for part in parts:
        digest.update(part)
    boundary = f"pbxhub-{digest.hexdigest()[:40]}"
    context.content_type = f"multipart/form-data; boundary={boundary}"
    line = boundary.encode()
    return b"".join(b"--" + line + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + line + b"--\r\n"


def _part(name: str, leaf: Any, context: Context) -> bytes:
    head = f'Content-Disposition: form-data; name="{name.translate(_ESCAPED)}"'
    if not isinstance(leaf, FilePart):
        return to_bytes(f"{head}\r\n\r\n{context.text(leaf)}")
    named = f'{head}; filename="{leaf.file_name.translate(_ESCAPED)}"'
    return to_bytes(f"{named}\r\nContent-Type: {type_of_file(leaf.file_name)}\r\n\r\n{leaf.mark}")
