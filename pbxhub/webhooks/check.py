"""Validates a webhook before it is saved, wherever it comes from: all errors at once, and warnings."""

from collections.abc import Callable, Iterator
from typing import Any

from pbxhub.webhooks import params
from pbxhub.webhooks.answer_verdict import check_success
from pbxhub.webhooks.auth import check_auth
from pbxhub.webhooks.call_control import check_steering
from pbxhub.webhooks.catalogue import QUESTION, STAGES
from pbxhub.webhooks.certificates import certificates_error
from pbxhub.webhooks.ga4 import lint_ga4
from pbxhub.webhooks.matching import compile_filters, conditions_of
from pbxhub.webhooks.request import compile_request, may_send_recording
from pbxhub.webhooks.retry import check_retry
from pbxhub.webhooks.saved_values import check_answer
from pbxhub.webhooks.spec import FieldError, RequestSpec, SpecError, WebhookSpec, each_parameter, load_spec
from pbxhub.webhooks.spec_json import wrong_at
from pbxhub.webhooks.template import TemplateError, compile_template

MOST_IN_FLIGHT, LONGEST_DEADLINE, LONGEST_UPLOAD = 100, 60, 600
MOST_PER_MINUTE, LONGEST_DELAY = 600, 86_400
LONGEST_NAME = 200  # characters
_DIALPLAN_SIGNS = frozenset(",()$")


def check_spec(data: Any) -> WebhookSpec:
    """The webhook in the JSON, ready to be saved. Raises SpecError with every wrong field."""
    spec = load_spec(data)
    if errors := problems(spec):
        raise SpecError(errors)
    return spec


def problems(spec: WebhookSpec) -> list[FieldError]:
    """The errors that prevent a webhook from being saved."""
    return [
        *_errors_of(compile_request, spec),
        *_errors_of(compile_filters, spec),
        *check_auth(spec.request.auth),
        *check_success(spec.success),
        *check_retry(spec.retry),
        *check_answer(spec.answer),
        *_check_limits(spec),
        *_check_rest(spec.request),
        *check_steering(spec),
    ]


def check_name(name: str, stage: str) -> list[FieldError]:
    """Whether an event of this stage may be called that. The dialplan asks for a call.question by its name, as one
    argument of AGI()."""
    if not 1 <= len(name) <= LONGEST_NAME:
        return [wrong_at("name", "Give the event a name of 1 to %(most)s characters.", most=LONGEST_NAME)]
    if stage == QUESTION and set(name) & _DIALPLAN_SIGNS:
        return [wrong_at("name", "Do not use , ( ) and $: the dialplan refers to this event by its name.")]
    return []


def check_set_name(name: str) -> list[FieldError]:
    """Whether a set of webhooks may be called that; "" is for webhooks of no set."""
    if len(name) <= LONGEST_NAME and name == name.strip() and name.isprintable():
        return []
    return [wrong_at("set", "Write one line of up to %(most)s characters.", most=LONGEST_NAME)]


def check_stage(stage: str) -> list[FieldError]:
    """An error when the stage does not exist."""
    if stage in STAGES:
        return []
    return [wrong_at("stage", "is %(data)s; use one of %(known)s", data=repr(stage), known=", ".join(STAGES))]


def _errors_of(compile_part: Callable[[WebhookSpec], Any], spec: WebhookSpec) -> list[FieldError]:
    try:
        compile_part(spec)
    except SpecError as error:
        return error.errors
    return []


def _check_limits(spec: WebhookSpec) -> Iterator[FieldError]:
    limits = spec.limits
    longest = LONGEST_UPLOAD if may_send_recording(spec.request) else LONGEST_DEADLINE
    for name, given, most in (("in_flight", limits.in_flight, MOST_IN_FLIGHT), ("deadline", limits.deadline, longest)):
        if not 1 <= given <= most:
            yield wrong_at(f"limits.{name}", "is %(given)s; give 1 to %(most)s", given=given, most=most)
    for name, given, most in (
        ("per_minute", limits.per_minute, MOST_PER_MINUTE),
        ("delay", limits.delay, LONGEST_DELAY),
    ):
        if not 0 <= given <= most:
            yield wrong_at(f"limits.{name}", "is %(given)s; give 0 to %(most)s", given=given, most=most)


def _check_rest(request: RequestSpec) -> Iterator[FieldError]:
    for name, text in (("tls_ca", request.tls_ca), ("tls_certificate", request.tls_certificate)):
        if text and (message := certificates_error(text)):
            yield FieldError(name, message)
    if request.tls_certificate and request.url.lower().startswith("http://"):
        yield wrong_at("tls_certificate", "is used with https only; give an https:// address or delete it")


def advice(spec: WebhookSpec, stage: str) -> Iterator[FieldError]:
    """Warnings: settings that may be saved but probably do not do what the user wants."""
    for path, name in used_parameters(spec):
        if not params.exists_at(name, stage):
            yield wrong_at(
                path, "%(name)s has no value at the stage %(stage)s and will be empty", name=name, stage=stage
            )
    if spec.wait_for:
        yield wrong_at("wait_for", "is sent after %(name)s has answered in this call", name=spec.wait_for)
    if delay := spec.limits.delay:
        yield wrong_at("limits.delay", "is sent %(seconds)s s after the stage", seconds=delay)
    if rate := spec.limits.per_minute:
        yield wrong_at("limits.per_minute", "leaves at most %(rate)s times a minute; the others wait", rate=rate)
    if spec.request.url.lower().startswith("http://"):
        yield wrong_at("url", "is not encrypted: anyone on the network path can read it; use https:// if you can")
    if not any("<<" in text for _path, text in _templates(spec.request)):
        yield wrong_at("", "Nothing about the call is sent yet: add a parameter under What is sent.")
    yield from lint_ga4(spec)


def texts_of(spec: WebhookSpec) -> Iterator[tuple[str, str]]:
    """Path and text of everything the user has typed into the request and the filters."""
    yield from _templates(spec.request)
    yield from (("auth.username", spec.request.auth.username), ("auth.name", spec.request.auth.name))
    for path, item in conditions_of(spec.filters):
        yield from ((path, text) for text in (item.value, *item.values))
    if spec.success.body:
        yield "success.body", spec.success.body.value


def used_parameters(spec: WebhookSpec) -> Iterator[tuple[str, str]]:
    """Path and canonical name of every parameter that a webhook uses, each pair once."""
    names = ((path, item.parameter) for path, item in conditions_of(spec.filters))
    yield from ((path, known) for path, name in names if (known := params.canonical(name)))
    for path, text in _templates(spec.request):
        try:
            slots = compile_template(text).slots
        except TemplateError:
            continue
        yield from ((path, name) for name in dict.fromkeys(slot.name for slot in slots))
    for path, item in each_parameter(spec.request.parameters):
        if item.type == "recording":
            yield path, "recording_file"


def _templates(request: RequestSpec) -> Iterator[tuple[str, str]]:
    yield from (("url", request.url), ("text", request.text), ("rpc_method", request.rpc_method))
    yield from ((f"headers.{item.name}", item.value) for item in request.headers)
    yield from ((f"query.{item.name}", item.value) for item in request.query)
    yield from ((path, item.value) for path, item in each_parameter(request.parameters))
