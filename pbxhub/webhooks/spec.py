"""What a user has set up: frozen dataclasses of a webhook, and their JSON form.

load_spec checks the shape (names, types, choices). What a template, a URL, a name or a path says is checked by
check.check_spec, the door of everything that saves a webhook; a stored webhook is only read back.
Secrets are never part of a spec: it names the kind of authentication, the secret is sealed beside it.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pbxhub.steering.number_rules import EXTENSIONS
from pbxhub.webhooks.spec_json import FieldError, Reader, SpecError, write

__all__ = [
    "Answer", "Auth", "BodyCheck", "Field", "FieldError", "Filter", "Limits", "Parameter", "RequestSpec", "Retry",
    "Saved", "SpecError", "Steering", "Success", "WebhookSpec", "dump_spec", "load_spec",
]  # fmt: skip

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
Format = Literal["json", "form", "json-rpc", "raw", "xml", "none"]
Kind = Literal["text", "number", "boolean", "array", "object", "md5", "crc32", "sha1", "sha256"]
Empty = Literal["", "null", "empty", "omit"]
Operator = Literal[
    "equals", "not_equals", "contains", "starts_with", "in", "not_in", "greater", "less", "at_least", "at_most"
]  # fmt: skip
DateFormat = Literal["standard", "iso", "iso_utc", "dotted", "us", "rfc2822", "unix", "unix_ms", "pattern"]


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition: a parameter of the catalogue compared with a text. in and not_in compare with values."""

    parameter: str
    operator: Operator
    value: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A header or a query parameter. value may hold <<placeholders>>.

    empty: what to do when nothing comes out: "empty" sends it empty, "omit" leaves it out; "" means omit for a
    header and empty for a query parameter. mandatory: nothing comes out → the request is not sent.
    """

    name: str
    value: str = ""
    mandatory: bool = False
    empty: Empty = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A node of the parameter tree.

    name: Latin without spaces, or any text as {{any text}}; empty inside an array.
    value: text with <<placeholders>> of every type but array and object, which have children instead.
    empty: when nothing comes out: "null", "empty" (an empty string) or "omit" the name; "" is null in JSON and an
    empty string elsewhere. mandatory: nothing comes out → the request is not sent.
    attribute: in XML, an attribute of the element around it. A field named {{#text}} is the text of that element.
    """

    name: str = ""
    type: Kind = "text"
    value: str = ""
    children: "tuple[Parameter, ...]" = ()
    empty: Empty = ""
    mandatory: bool = False
    attribute: bool = False


@dataclass(frozen=True, slots=True)
class Auth:
    """How a request is authenticated; the secret itself is sealed elsewhere and joins the request when it is sent.

    username: of basic. name: of the header or of the query parameter that carries the secret.
    """

    kind: Literal["none", "basic", "bearer", "header", "query"] = "none"
    username: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """Where to send what.

    headers: a Content-Type among them replaces the one of the format; content_type=False deletes that one.
    query: joins the query the URL already has. parameters: the tree; top says whether it is an object or an array.
    text: the body of raw, or free XML. file: the body of raw as bytes, without placeholders.
    xml_root: name of the outermost element of a tree. rpc_method: "method" of JSON-RPC.
    date_pattern: strftime, when date_format is "pattern".
    follow_to_get: one redirect is followed with GET (Google Apps Script). tls_ca: PEM of an own authority.
    tls_certificate: PEM shown to the receiver; its private key is a secret and sealed beside the spec.
    """

    method: Method = "POST"
    url: str = ""
    format: Format = "json"
    headers: tuple[Field, ...] = ()
    content_type: bool = True
    query: tuple[Field, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    top: Literal["object", "array"] = "object"
    text: str = ""
    file: bytes = b""
    xml_root: str = "request"
    rpc_method: str = ""
    auth: Auth = Auth()
    date_format: DateFormat = "standard"
    date_pattern: str = ""
    follow_to_get: bool = False
    tls_ca: str = ""
    tls_certificate: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed delivery is tried again. delays: seconds before each further try, of the profile "own"."""

    profile: Literal["none", "ringostat", "minutes", "fast", "standard", "own"] = "none"
    delays: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BodyCheck:
    """What the body must say: JSON path equals value, JSON path exists, or the text contains value."""

    kind: Literal["json_equals", "json_exists", "text_contains"]
    path: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Success:
    """Which answer is a success. statuses: empty means any 2xx; (200,) is what Ringostat asks."""

    statuses: tuple[int, ...] = ()
    body: BodyCheck | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """One value of the answer, kept on the call as webhook.saved.NAME. mandatory: missing or
    empty → the delivery failed."""

    name: str
    path: str
    mandatory: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """How the answer is read."""

    format: Literal["json", "xml"] = "json"
    save: tuple[Saved, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """in_flight: requests of this webhook at once. deadline: seconds for one attempt, all phases together."""

    in_flight: int = 8
    deadline: int = 10


@dataclass(frozen=True, slots=True)
class Steering:
    """How the answer steers the call that waits for it; only of webhooks that are asked by the dialplan.

    reads: "variables" takes nothing but the values it saves, "actions" takes {"actions": […]}, "number" takes a
    destination: the field `key` of a JSON answer, or the whole body when key is empty.
    wait: seconds the caller waits for the answer. music: class of the music on hold meanwhile, "" for silence.
    numbers: what may be dialled (steering/number_rules). contexts: those the action goto may choose.
    default: number dialled when the answer is of no use; "" lets the dialplan go on. ring: seconds that a destination
    of "number" or the default rings.
    """

    reads: Literal["variables", "actions", "number"] = "actions"
    key: str = ""
    wait: int = 5
    music: str = ""
    numbers: tuple[str, ...] = EXTENSIONS
    contexts: tuple[str, ...] = ()
    default: str = ""
    ring: int = 30


@dataclass(frozen=True, slots=True)
class WebhookSpec:
    """One webhook: all filters must hold; on_success / on_failure name the webhook that goes next."""

    request: RequestSpec = RequestSpec()
    filters: tuple[Filter, ...] = ()
    retry: Retry = Retry()
    success: Success = Success()
    answer: Answer = Answer()
    on_success: str = ""
    on_failure: str = ""
    limits: Limits = Limits()
    steering: Steering | None = None


def load_spec(data: Any) -> WebhookSpec:
    """The webhook of that JSON. Raises SpecError with every field that is wrong."""
    reader = Reader(transparent=frozenset({"request", "children"}))
    spec = reader.read(WebhookSpec, data, "")
    if reader.errors:
        raise SpecError(reader.errors)
    assert isinstance(spec, WebhookSpec)
    return spec


def dump_spec(spec: WebhookSpec) -> Any:
    """JSON that load_spec reads back into an equal spec."""
    return write(spec)
