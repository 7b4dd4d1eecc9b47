"""Trying a webhook before it is saved: the exact request for a call, and a test send with the real answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from pbxhub.calls.stages import Value
from pbxhub.delivery.outgoing import Answer, Outgoing
from pbxhub.delivery.prepare import tls_of
from pbxhub.delivery.redaction import redact_headers, redact_url
from pbxhub.delivery.signing import identify, open_keys
from pbxhub.store.ids import new_id
from pbxhub.store.webhooks import Webhook
from pbxhub.web import curl
from pbxhub.web.access import Access
from pbxhub.web.hub import hub, now
from pbxhub.web.paging import read_uuid
from pbxhub.web.present import readable
from pbxhub.web.samples import recent_calls, sample_values, values_of
from pbxhub.webhooks.auth import authorize
from pbxhub.webhooks.check import advice, problems
from pbxhub.webhooks.matching import Matched, compile_filters, would_match
from pbxhub.webhooks.message import NotSent, Request
from pbxhub.webhooks.request import compile_request
from pbxhub.webhooks.spec import FieldError, SpecError, WebhookSpec, load_spec
from pbxhub.webhooks.success import Verdict, judge


@dataclass(frozen=True, slots=True)
class Preview:
    """What the right side of the editor shows. request is empty when errors or not_sent say why."""

    errors: tuple[FieldError, ...]
    notes: tuple[FieldError, ...] = ()
    request: Request | None = None
    not_sent: NotSent | None = None
    matched: Matched | None = None
    would_match: bool = True

    @property
    def body(self) -> str:
        """The body to read: JSON indented, other text as it is."""
        if self.request is None:
            return ""
        return readable(self.request.body)

    @property
    def curl(self) -> str:
        """The request as a command, without secrets."""
        if self.request is None:
            return ""
        headers = redact_headers(self.request.headers)
        return curl.as_curl(self.request.method, redact_url(self.request.url), headers, self.request.body)


@dataclass(frozen=True, slots=True)
class Tried:
    """A test send: what left, what came back, and whether the success rule is met."""

    preview: Preview
    answer: Answer | None = None
    verdict: Verdict | None = None


def preview(session: Session, access: Access, data: Mapping[str, Any]) -> Preview:
    """The request that the webhook in data would send for the call it names, or what is wrong with it."""
    try:
        spec = load_spec(data.get("spec") or {})
    except SpecError as error:
        return Preview(tuple(error.errors))
    if errors := problems(spec):
        return Preview(tuple(errors))
    stage = str(data.get("stage") or "")
    values = _values(session, access, stage, str(data.get("sample") or ""))
    rendered = compile_request(spec).render(values, access.zone, access.project.country)
    matcher = compile_filters(spec)
    recent = recent_calls(session, access, stage)
    matched = would_match(matcher, [values_of(session, access, event, call) for event, call in recent])
    return Preview(
        (),
        tuple(advice(spec, stage)),
        rendered if isinstance(rendered, Request) else None,
        rendered if isinstance(rendered, NotSent) else None,
        matched,
        matcher.matches(values),
    )


def test_send(session: Session, access: Access, data: Mapping[str, Any], webhook: Webhook | None) -> Tried:
    """Sends the previewed request as a delivery is sent, credentials and signature included; nothing is stored."""
    shown = preview(session, access, data)
    if shown.request is None:
        return Tried(shown)
    spec = load_spec(data.get("spec") or {})
    sender = hub().sender
    sender.guard = hub().guard()
    answer = sender.send(_outgoing(shown.request, spec, str(data.get("secret") or ""), webhook))
    verdict = None
    if answer.status_code is not None and answer.outcome in ("ok", "http_3xx", "http_4xx", "http_5xx", "gone"):
        verdict = judge(spec.success, answer.status_code, answer.body)
    return Tried(shown, answer, verdict)


def _outgoing(request: Request, spec: WebhookSpec, secret: str, webhook: Webhook | None) -> Outgoing:
    vault = hub().vault
    if not secret and webhook is not None:
        secret = vault.open(webhook.secret_sealed)
    keys = open_keys(vault, webhook.signing_sealed) if webhook is not None else None
    headers = (*request.headers, *identify(request, f"test_{new_id()}", 1, keys, now()))
    request = authorize(Request(request.method, request.url, headers, request.body), spec.request.auth, secret)
    tls = tls_of(vault, spec.request, webhook.tls_key_sealed if webhook is not None else "")
    return Outgoing(request, f"test:{new_id()}", float(spec.limits.deadline), tls, spec.request.follow_to_get)


def _values(session: Session, access: Access, stage: str, sample: str) -> Mapping[str, Value]:
    wanted = read_uuid(sample)
    if wanted:
        for event, call in recent_calls(session, access, stage):
            if call.id == wanted:
                return values_of(session, access, event, call)
    return sample_values(session, access, stage, sample)
