"""The settings of a webhook: frozen dataclasses and their JSON form.

load_spec checks the structure (names, types, choices). check.check_spec also checks the content of templates, URLs,
names and paths; everything that saves a webhook calls it. A stored webhook is only loaded.
Secrets are never part of a spec: it names the kind of authentication; the secret is stored encrypted beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pbxhub.steering.number_rules import EXTENSIONS
from pbxhub.webhooks.spec_json import FieldError, SpecError, join, read_as, write

__all__ = [
    "AnswerSpec", "Auth", "BodyCheck", "Field", "FieldError", "Filter", "Limits", "Parameter", "RequestSpec", "Retry",
    "Saved", "SpecError", "Steering", "Success", "WebhookSpec", "dump_spec", "load_spec",
]  # fmt: skip

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
Format = Literal["json", "form", "multipart", "json-rpc", "raw", "xml", "none"]
Kind = Literal["text", "number", "boolean", "array", "object", "md5", "crc32", "sha1", "sha256", "recording", "file"]
Empty = Literal["", "null", "empty", "omit"]
Operator = Literal[
    "equals", "not_equals", "contains", "starts_with", "in", "not_in", "greater", "less", "at_least", "at_most",
    "matches", "not_matches", "on_days", "between", "working_time", "not_working_time", "any", "all",
]  # fmt: skip
DateFormat = Literal["standard", "iso", "iso_utc", "dotted", "us", "rfc2822", "unix", "unix_ms", "pattern"]


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition, or a group of conditions.

    A condition compares a parameter with value; in, not_in and on_days compare with values, and working_time and
    not_working_time with neither. A group has the operator any or all, and its conditions in filters.
    """

    parameter: str = ""
    operator: Operator = "equals"
    value: str = ""
    values: tuple[str, ...] = ()
    filters: "tuple[Filter, ...]" = ()

    @property
    def is_group(self) -> bool:
        return self.operator in ("any", "all")


@dataclass(frozen=True, slots=True)
class Field:
    """A header or a query parameter. value may hold <<placeholders>>.

    empty: what to do when the rendered text is empty: "empty" sends it, "omit" leaves the field out; "" means omit for
    a header and empty for a query parameter. mandatory: when the text is empty, the request is not sent.
    """

    name: str
    value: str = ""
    mandatory: bool = False
    empty: Empty = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A node of the parameter tree.

    name: Latin without spaces, or any text as {{any text}}; empty inside an array.
    value: text with <<placeholders>> of every type but array and object, which have children instead. Of the type
    recording (the recording of the call, in multipart), the file name to send; the type file is RequestSpec.file.
    empty: what to send for an empty value: "null", "empty" (an empty string) or "omit" (leave the name out); "" means
    null in JSON and an empty string elsewhere. mandatory: when the value is empty, the request is not sent.
    attribute: in XML, an attribute of the enclosing element. A field named {{#text}} is the text of that element.
    """

    name: str = ""
    type: Kind = "text"
    value: str = ""
    children: "tuple[Parameter, ...]" = ()
    empty: Empty = ""
    mandatory: bool = False
    attribute: bool = False


def each_parameter(items: Sequence[Parameter], path: str = "parameters") -> Iterator[tuple[str, Parameter]]:
    """Each parameter with its path, those inside of it right after it."""
    for index, item in enumerate(items):
        own = join(path, item.name or f"[{index}]")
        yield own, item
        yield from each_parameter(item.children, own)


@dataclass(frozen=True, slots=True)
class Auth:
    """How a request is authenticated. The secret is stored elsewhere, encrypted, and added when the request is sent.

    username: of basic. name: of the header or of the query parameter that carries the secret; for "connection" the
    name of a connection of the project, whose credentials are used.
    """

    kind: Literal["none", "basic", "bearer", "header", "query", "connection"] = "none"
    username: str = ""
    name: str = ""

    @property
    def has_secret(self) -> bool:
        """Whether the webhook itself has a secret."""
        return self.kind not in ("none", "connection")


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """The request to send.

    headers: a Content-Type here replaces that of the format; content_type=False removes it.
    query: appended to the query in the URL. parameters: the tree; top says whether it is an object or an array.
    text: the body of raw, or free XML. file: the body of raw as bytes, without placeholders; or the file that a
    parameter of the type file sends in multipart, under the name file_name.
    xml_root: name of the outermost element of a tree. rpc_method: "method" of JSON-RPC.
    date_pattern: strftime, when date_format is "pattern".
    follow_to_get: follows one redirect with GET (Google Apps Script). tls_ca: certificate authority in PEM.
    tls_certificate: client certificate in PEM; its private key is a secret and stored encrypted beside the spec.
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
    file_name: str = ""
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
    """When a failed delivery is retried. delays: seconds before each retry, for the profile "own"."""

    profile: Literal["none", "ringostat", "minutes", "fast", "standard", "own"] = "none"
    delays: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BodyCheck:
    """A condition on the body: a JSON path equals value, a JSON path exists, or the text contains value. statuses: of
    which answers; empty means all. The body of any other does not matter."""

    kind: Literal["json_equals", "json_exists", "text_contains"]
    path: str = ""
    value: str = ""
    statuses: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Success:
    """Which answer is a success. statuses: empty means any 2xx; (200,) is Ringostat's rule."""

    statuses: tuple[int, ...] = ()
    body: BodyCheck | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """One value of the answer, saved on the call as webhook.saved.NAME. mandatory: when it is missing or empty, the
    delivery has failed."""

    name: str
    path: str
    mandatory: bool = False


@dataclass(frozen=True, slots=True)
class AnswerSpec:
    """How to read the answer."""

    format: Literal["json", "xml"] = "json"
    save: tuple[Saved, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """in_flight: requests of this webhook at once. deadline: seconds for one attempt, all phases together.

    per_minute: attempts of this webhook within a minute, evenly spread; 0: as many as there are. delay: seconds between
    the stage and the first attempt.
    """

    in_flight: int = 8
    deadline: int = 10
    per_minute: int = 0
    delay: int = 0


@dataclass(frozen=True, slots=True)
class Steering:
    """How the answer steers the waiting call; only for webhooks that the dialplan asks.

    reads: "variables" reads only the saved values, "actions" reads {"actions": […]}, "number" reads a destination: the
    field `key` of a JSON answer, or the whole body when key is empty.
    wait: seconds the caller waits for the answer. music: class of the music on hold meanwhile, "" for silence.
    numbers: what may be dialled (steering/number_rules). contexts: those the action goto may choose.
    default: number dialled when the answer cannot be carried out; "" lets the dialplan continue. known_first: the
    parameter responsible takes its place where it has a value. ring: seconds that a destination of "number" or the
    default number rings.
    """

    reads: Literal["variables", "actions", "number"] = "actions"
    key: str = ""
    wait: int = 5
    music: str = ""
    numbers: tuple[str, ...] = EXTENSIONS
    contexts: tuple[str, ...] = ()
    default: str = ""
    known_first: bool = False
    ring: int = 30


@dataclass(frozen=True, slots=True)
class WebhookSpec:
    """One webhook. All filters must match. on_success, on_failure: name of the webhook that is sent next.

    wait_for: name of a webhook of the same call whose answer is awaited before this one is rendered; "" for none.
    unanswered: what to do when that one has failed or has no delivery in this call.
    incomplete: what becomes of a delivery whose mandatory field is empty: it fails, or is skipped, which is no error.
    """

    request: RequestSpec = RequestSpec()
    filters: tuple[Filter, ...] = ()
    retry: Retry = Retry()
    success: Success = Success()
    answer: AnswerSpec = AnswerSpec()
    on_success: str = ""
    on_failure: str = ""
    wait_for: str = ""
    unanswered: Literal["send", "skip"] = "send"
    incomplete: Literal["fail", "skip"] = "fail"
    limits: Limits = Limits()
    steering: Steering | None = None


def load_spec(data: Any) -> WebhookSpec:
    """The webhook in the JSON. Raises SpecError with every wrong field."""
    return read_as(WebhookSpec, data, "request", "children")


def dump_spec(spec: WebhookSpec) -> Any:
    """The JSON of a webhook; load_spec reads it back into an equal spec."""
    return write(spec)
