"""Tries a webhook: previews it, sends it once, or asks it as a waiting call would."""

from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.call_questions import simulate as simulate_answer
from pbxhub.account.preview import Preview, Tried, preview, test_send
from pbxhub.account.refusals import ConflictError
from pbxhub.account.secret_visibility import readable, visible_request
from pbxhub.account.webhooks import webhook_of
from pbxhub.api.authentication import reads
from pbxhub.api.problems import refuse
from pbxhub.api.resources.webhooks import webhooks
from pbxhub.api.schemas import webhooks as schemas
from pbxhub.store import webhooks as store
from pbxhub.translatable import say
from pbxhub.webhooks.curl_command import as_curl
from pbxhub.webhooks.spec import dump_spec


@webhooks.post("/webhooks/<int:webhook_id>/simulate")
@webhooks.arguments(schemas.AnswerTried)
@webhooks.response(200, schemas.Simulated)
@reads("webhooks.change")
def simulate(session: Session, access: Access, data: dict[str, Any], webhook_id: int) -> Any:
    """What an answer would do with a waiting call. No call is made."""
    steering = webhook_of(session, access, webhook_id).spec.steering
    if steering is None:
        raise ConflictError(say("This event does not steer calls: its stage is not call.question."))
    return simulate_answer(access, steering, data["answer"].encode())


@webhooks.post("/webhooks/preview")
@webhooks.arguments(schemas.WebhookTrial)
@webhooks.response(200, schemas.Rendered)
@reads("webhooks.change")
def preview_draft(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """The exact request that an unsaved event would send. Its author chooses which values of a call it shows and under
    which names, and can therefore read values that are hidden elsewhere."""
    return _rendered(access, preview(session, access, data))


@webhooks.post("/webhooks/<int:webhook_id>/preview")
@webhooks.arguments(schemas.Sample)
@webhooks.response(200, schemas.Rendered)
@reads("account.read")
def preview_one(session: Session, access: Access, data: dict[str, Any], webhook_id: int) -> Any:
    """The exact request for a recent call or a sample."""
    webhook = webhook_of(session, access, webhook_id)
    return _rendered(access, preview(session, access, _trial(webhook, data), webhook))


@webhooks.post("/webhooks/<int:webhook_id>/test")
@webhooks.arguments(schemas.Sample)
@webhooks.response(200, schemas.Answered)
@reads("webhooks.change")
def test(session: Session, access: Access, data: dict[str, Any], webhook_id: int) -> Any:
    """Sends the previewed request once, in the same way as a delivery, and returns the answer; of an event that a
    waiting call asks also what the PBX would do with the call."""
    webhook = webhook_of(session, access, webhook_id)
    return _answered(access, test_send(session, access, _trial(webhook, data), webhook))


def _trial(webhook: store.Webhook, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "name": webhook.name,
        "stage": webhook.stage,
        "spec": dump_spec(webhook.spec),
        "sample": data["sample"],
    }


def _rendered(access: Access, found: Preview) -> dict[str, Any]:
    if found.errors:
        refuse(422, "This cannot be sent.", found.errors)
    asked = visible_request(access, found.request) if found.request else None
    return {
        "method": asked.method if asked else None,
        "url": asked.url if asked else None,
        "headers": [list(header) for header in asked.headers] if asked else [],
        "body": readable(asked.body_with_notes(found.recording_size)) if asked else "",
        "curl": as_curl(asked.method, asked.url, asked.headers, asked.body, asked.files) if asked else "",
        "not_sent": found.not_sent.sentence if found.not_sent else None,
        "would_match": found.would_match,
        "notes": found.notes,
    }


def _answered(access: Access, tried: Tried) -> dict[str, Any]:
    answer = tried.answer
    shown = _rendered(access, tried.preview)
    if answer is None:
        return {**shown, "outcome": None, "message": shown["not_sent"] or "", "status_code": None, "response_body": "",
                "elapsed_ms": None, "success": None, "followed": None}  # fmt: skip
    return {
        **shown,
        "outcome": answer.outcome,
        "message": tried.verdict.sentence if tried.verdict else answer.message,
        "status_code": answer.status_code,
        "response_body": answer.body.decode("utf-8", "replace"),
        "elapsed_ms": None if answer.total_us is None else answer.total_us // 1000,
        "success": tried.verdict.ok if tried.verdict else False,
        "followed": tried.followed,
    }
