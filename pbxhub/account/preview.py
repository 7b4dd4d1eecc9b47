"""Trying a webhook before it is saved: the exact request for a call, and a test send with the real answer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.call_questions import Simulated, what_follows
from pbxhub.account.sample_calls import chosen_values, recent_values, saved_examples
from pbxhub.account.secret_visibility import readable
from pbxhub.account.webhook_drafts import connection_errors, draft_errors
from pbxhub.account.webhook_secrets import (
    given_key,
    given_secret,
    key_errors,
    moved_errors,
    same_host,
    secret_errors,
)
from pbxhub.account.working_times import working_time_notes
from pbxhub.delivery.live_connections import LiveConnection, live_connection
from pbxhub.delivery.open_recordings import Fetch, Opened, OpenRecording, look_for, silence, wanted
from pbxhub.delivery.prepare import Credentials, NoTokenError, Prepared, connected, join
from pbxhub.delivery.read_answer import Reading, read
from pbxhub.delivery.stage_values import DeliveryValues, StageValues
from pbxhub.redaction import HIDDEN, redact_headers, redact_url
from pbxhub.sending.address_guard import NetworkGrant, read_grant
from pbxhub.sending.exchange import Answer
from pbxhub.sending.outcomes import TOKEN_REFUSED
from pbxhub.sending.webhook_signatures import open_keys
from pbxhub.store.connections import connection_named, connections_of
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.webhooks import Webhook
from pbxhub.translatable import Sentence, say
from pbxhub.vault import Vault, VaultError
from pbxhub.webhooks.auth import authorize
from pbxhub.webhooks.catalogue import QUESTION
from pbxhub.webhooks.check import advice, problems
from pbxhub.webhooks.curl_command import as_curl
from pbxhub.webhooks.ga4 import is_ga4
from pbxhub.webhooks.ga4_request import lint_request, twin, twin_messages
from pbxhub.webhooks.matching import Matched, compile_filters, would_match
from pbxhub.webhooks.rendered_request import NotSent, Request
from pbxhub.webhooks.request import compile_request
from pbxhub.webhooks.spec import Auth, FieldError, SpecError, WebhookSpec, load_spec

TEST_MARK = ("webhook-test", "1")
"""The header by which a receiver can tell a test from a delivery."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What the right side of the editor shows. request is empty when errors or not_sent say why.

    request: everything that would leave, credentials hidden. unsavable: what saving would refuse beside it.
    recording_size: bytes of the recording that it sends, if its file is on this host.
    """

    errors: tuple[FieldError, ...]
    notes: tuple[FieldError, ...] = ()
    request: Request | None = None
    not_sent: NotSent | None = None
    matched: Matched | None = None
    would_match: bool = True
    unsavable: tuple[FieldError, ...] = ()
    recording_size: int | None = None

    @property
    def size(self) -> int:
        """Bytes of the body; of base64 a third less than in the end."""
        return len(self.request.body) + (self.recording_size or 0) if self.request else 0

    @property
    def body(self) -> str:
        """The body to read: JSON indented, other text as it is."""
        if self.request is None:
            return ""
        return readable(self.request.body_with_notes(self.recording_size))

    @property
    def curl(self) -> str:
        """The request as a command, without secrets."""
        if self.request is None:
            return ""
        headers = redact_headers(self.request.headers)
        return as_curl(
            self.request.method, redact_url(self.request.url), headers, self.request.body, self.request.files
        )


@dataclass(frozen=True, slots=True)
class Tried:
    """A test send: what left, what came back, and what it means by the success rule.

    followed: what the PBX would do with the call, of a webhook that a waiting call asks.
    """

    preview: Preview
    answer: Answer | None = None
    verdict: Reading | None = None
    followed: Simulated | None = None


@dataclass(frozen=True, slots=True)
class _Draft:
    """A webhook that need not be saved, rendered for a call.

    known: what is secret of it, given or kept. kept: the webhook whose secrets it would go on using. connection: the
    one whose credentials it uses; unconnected: why there is none that it may use.
    """

    spec: WebhookSpec
    stage: str
    values: StageValues
    delivery_id: UUID
    rendered: Request | NotSent
    known: Credentials
    kept: Webhook | None
    networks: NetworkGrant
    connection: LiveConnection | None
    unconnected: tuple[FieldError, ...]


def preview(session: Session, access: Access, data: Mapping[str, Any], kept: Webhook | None = None) -> Preview:
    """The request that the webhook in data would send for the call it names, or what is wrong with it.

    kept: the webhook that data changes or copies.
    """
    draft = _draft(session, access, data, kept)
    if isinstance(draft, Preview):
        return draft
    changed, copied = (kept, None) if data.get("id") else (None, kept)
    shown = _shown(session, access, data, draft)
    said = {note.path for note in shown.notes}
    refused = draft_errors(session, access, data, changed, copied)
    return replace(shown, unsavable=tuple(error for error in refused if error.path not in said))


def rendered_for(session: Session, access: Access, data: Mapping[str, Any], kept: Webhook) -> Preview:
    """The request alone, without what the editor says beside it."""
    draft = _draft(session, access, data, kept)
    if isinstance(draft, Preview):
        return draft
    if isinstance(draft.rendered, NotSent):
        return Preview((), not_sent=draft.rendered)
    return Preview((), request=_hidden(draft, draft.rendered, access.now), recording_size=_size(draft))


def test_send(session: Session, access: Access, data: Mapping[str, Any], kept: Webhook | None) -> Tried:
    """Sends the previewed request as a delivery is sent, credentials and signature included; nothing is stored.

    The transaction of the session is over before the request leaves: an answer may take a minute. What the session
    has read stays as it was read.
    """
    draft = _draft(session, access, data, kept)
    if isinstance(draft, Preview):
        return Tried(draft)
    secret = given_secret(data)
    errors = secret_errors(draft.spec, secret, kept)
    errors += key_errors(access.hub.vault, draft.spec, given_key(data), kept)
    errors += draft.unconnected
    if errors:
        return Tried(Preview(tuple(errors)))
    shown = _shown(session, access, data, draft)
    if isinstance(draft.rendered, NotSent):
        return Tried(shown)
    known = draft.known
    if draft.connection:
        try:
            known = connected(access.hub.vault, known, draft.connection, draft.rendered.url, access.now)
        except NoTokenError as error:
            answer = Answer(TOKEN_REFUSED, str(error))
            return _understood(access, data, draft, shown, answer)
    recording = _recording(session, access, draft.values, draft.rendered) if draft.rendered.recording else None
    if isinstance(recording, Answer):
        return _understood(access, data, draft, shown, recording)
    prepared = _prepared(draft, draft.rendered, known, access.now, recording)
    session.close()
    return _understood(access, data, draft, shown, _sent(access, prepared))


def _sent(access: Access, prepared: Prepared) -> Answer:
    request = prepared.outgoing.request
    marked = replace(request, headers=(*request.headers, TEST_MARK))
    sender = access.hub.sender
    sender.guard = access.hub.guard()
    try:
        with access.hub.slow_requests.one(access.project.id):
            return prepared.clean(sender.send(replace(prepared.outgoing, request=twin(marked))))
    finally:
        prepared.close()


def _understood(access: Access, data: Mapping[str, Any], draft: _Draft, shown: Preview, answer: Answer) -> Tried:
    verdict, steering = _judged(draft.spec, answer), draft.spec.steering
    if draft.stage != QUESTION or steering is None:
        return Tried(shown, answer, verdict)
    if unasked := _unasked(data, draft, shown):
        return Tried(shown, answer, verdict, Simulated((), unasked))
    return Tried(shown, answer, verdict, what_follows(access, steering, draft.values, answer.body, verdict))


def _unasked(data: Mapping[str, Any], draft: _Draft, shown: Preview) -> Sentence | None:
    """Why a waiting call would not ask this webhook at all, by the rules of agi/ask_webhook.py."""
    kept = draft.kept
    if not data.get("enabled", kept is None or kept.enabled):
        return say("The call does not ask this webhook: it is switched off.")
    if kept is not None and data.get("id") and kept.paused_on is not None:
        return say("The call does not ask this webhook: it is paused.")
    if not shown.would_match:
        return say("The call does not ask this webhook: its filters exclude the call.")
    return None


def _judged(spec: WebhookSpec, answer: Answer) -> Reading:
    """What a delivery would make of the answer; of Google Analytics, what its validation twin says."""
    reading = read(spec, answer, always_values=True)
    messages = twin_messages(answer.body) if is_ga4(spec.request.url) and reading.ok else None
    if messages is None:
        return reading
    if messages:
        sentence = say("Google would drop this: %(why)s", why="; ".join(messages))
        return replace(reading, ok=False, code="check_failed", sentence=sentence)
    sentence = say("Google's check found no error. It records nothing and does not check the API secret.")
    return replace(reading, sentence=sentence)


def _draft(session: Session, access: Access, data: Mapping[str, Any], kept: Webhook | None) -> _Draft | Preview:
    """The webhook in data, rendered; or the preview that says what is wrong with it."""
    try:
        spec = load_spec(data.get("spec") or {})
    except SpecError as error:
        return Preview(tuple(error.errors))
    if errors := problems(spec):
        return Preview(tuple(errors))
    stage, delivery_id = str(data.get("stage") or ""), new_id()
    values = chosen_values(session, access, stage, str(data.get("sample") or ""), str(data.get("name") or ""))
    if spec.wait_for and not values.get("webhook.saved"):
        values = values.after({"webhook.saved": saved_examples(session, access, spec.wait_for)})
    own = DeliveryValues(values, delivery_id)
    rendered = compile_request(spec).render(own, access.zone, access.project.country)
    known = Credentials()
    try:
        known = _credentials(access.hub.vault, spec, given_secret(data), given_key(data), kept)
    except VaultError as error:
        rendered = NotSent("render_error", say("Not sent: %(why)s.", why=str(error)))
    networks = read_grant(access.project.webhook_networks)
    unconnected = tuple(connection_errors(spec, connections_of(session, access.project.id)))
    named = spec.request.auth.kind == "connection" and not unconnected
    row = connection_named(session, access.project.id, spec.request.auth.name) if named else None
    connection = live_connection(row) if row else None
    return _Draft(spec, stage, values, delivery_id, rendered, known, kept, networks, connection, unconnected)


def _shown(session: Session, access: Access, data: Mapping[str, Any], draft: _Draft) -> Preview:
    matcher = compile_filters(draft.spec, access.calendar)
    matched = would_match(matcher, recent_values(session, access, draft.stage, str(data.get("name") or "")))
    notes = (*advice(draft.spec, draft.stage), *working_time_notes(access, draft.spec))
    if isinstance(draft.rendered, Request):
        said = {note.path for note in notes}
        notes += tuple(note for note in lint_request(draft.rendered, access.now) if note.path not in said)
    if draft.kept is not None and given_secret(data) is None:
        notes += tuple(moved_errors(draft.spec, draft.kept))
    notes += draft.unconnected
    notes += tuple(key_errors(access.hub.vault, draft.spec, given_key(data), draft.kept))
    would = matcher.matches(draft.values)
    if isinstance(draft.rendered, NotSent):
        return Preview((), notes, None, draft.rendered, matched, would)
    hidden = _hidden(draft, draft.rendered, access.now)
    return Preview((), notes, hidden, None, matched, would, recording_size=_size(draft))


def _size(draft: _Draft) -> int | None:
    """Of the recording, where its file is on this host; nobody asks a PBX for a preview."""
    sends = isinstance(draft.rendered, Request) and draft.rendered.recording
    size = draft.values.get("recording_size") if sends else None
    return size if isinstance(size, int) else None


def _hidden(draft: _Draft, rendered: Request, at: datetime) -> Request:
    """The request as it would leave, with the credentials hidden."""
    used = draft.connection.spec.auth if draft.connection else None
    auth = used or (Auth() if draft.unconnected else draft.spec.request.auth)
    prepared = _prepared(draft, rendered, Credentials("hidden", draft.known.keys, auth=auth), at)
    url = prepared.outgoing.request.url
    if auth.kind == "query":
        url = authorize(rendered, auth, "hidden").url.removesuffix("hidden") + HIDDEN
    return replace(rendered, url=url, headers=(*rendered.headers, *prepared.shown))


def _recording(session: Session, access: Access, values: StageValues, request: Request) -> Opened:
    """The recording that a test sends: of the call; one second of silence for a sample, which has no file."""
    call = session.get(Call, values.call.id)
    if call is None:
        return silence()
    hub, networks = access.hub, read_grant(access.project.webhook_networks)
    largest, common = hub.settings.largest_file, hub.settings.recordings
    want = wanted(
        session, call.project_id, call.id, request.recording, access.now, access.now, networks, largest, common
    )
    found = look_for(replace(want, may_come=call.ended_on is None), access.now)
    if not isinstance(found, Fetch):
        return found
    hub.sender.guard = hub.guard()
    session.close()
    try:
        with hub.slow_requests.one(access.project.id):
            answer = hub.sender.send(found.outgoing)
    except BaseException:
        found.file.close()
        raise
    return found.end(answer)


def _prepared(
    draft: _Draft, rendered: Request, known: Credentials, at: datetime, recording: OpenRecording | None = None
) -> Prepared:
    prepared = join(
        draft.spec,
        rendered,
        known,
        str(draft.delivery_id),
        1,
        f"test:{draft.delivery_id}",
        at,
        draft.networks,
        recording,
    )
    if draft.stage != QUESTION or draft.spec.steering is None:
        return prepared
    return replace(prepared, outgoing=replace(prepared.outgoing, deadline=float(draft.spec.steering.wait)))


def _credentials(
    vault: Vault, spec: WebhookSpec, secret: str | None, key: str | None, kept: Webhook | None
) -> Credentials:
    """What is given, and what is kept; nothing that is kept goes to another host. Raises VaultError as Vault.open."""
    if kept is None or not same_host(kept, spec):
        return Credentials(secret or "", None, key or "")
    return Credentials(
        secret or vault.open(kept.secret_sealed),
        open_keys(vault, kept.signing_sealed),
        key or vault.open(kept.tls_key_sealed) if spec.request.tls_certificate else "",
    )
