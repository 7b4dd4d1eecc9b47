"""The form of every refusal: problem+json (RFC 9457) with the path of each wrong field."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar

import structlog
from flask import Flask, Response, json
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from pbxhub.account.refusals import BusyError, ConflictError, NotAllowedError, NotFoundError, Refusal, Taken
from pbxhub.json_reader import UnreadableError
from pbxhub.store.database_errors import is_away, reason
from pbxhub.webhooks.spec import FieldError, SpecError

T = TypeVar("T")
TYPE = "application/problem+json"
log = structlog.get_logger(__name__)

_SENTENCES = {
    401: "Send a key of the project in the header X-API-KEY; an owner makes one under API keys.",
    404: "It was deleted, never existed, or belongs to another project.",
    405: "This address does not support this method; see /api/v1/docs.",
    413: "A request may have up to 2 MB.",
    414: "The address is too long: its query may have up to 8,000 bytes.",
    415: "Send JSON, with Content-Type: application/json.",
    500: "Something failed in the hub. The hub's log has the details.",
    503: "The database does not answer. Before you repeat a change, check in a moment whether it took effect.",
}


class Refused(Exception):  # noqa: N818 - an answer, not a bug
    """A refused request."""

    def __init__(
        self, status: int, detail: str, errors: Iterable[FieldError] = (), headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers or {}


def refuse(status: int, detail: str, errors: Iterable[FieldError] = (), **headers: str) -> NoReturn:
    """Ends the request; its transaction is rolled back."""
    raise Refused(status, detail, errors, {name.replace("_", "-"): value for name, value in headers.items()})


def wrong_field(path: str, message: str) -> NoReturn:
    """422 about one field."""
    refuse(422, f"{path}: {message}", [FieldError(path, message)])


def refuse_all(refusals: Sequence[Refusal]) -> None:
    """Ends the request if there are refusals, with the same sentences as the pages."""
    if refusals:
        status = 409 if all(isinstance(each, Taken) for each in refusals) else 422
        errors = [FieldError(each.path, each.text) for each in refusals]
        refuse(status, _said(errors), errors)


def accepted(found: T | list[Refusal]) -> T:
    """The saved object; ends the request if it was refused."""
    if isinstance(found, list):
        refuse_all(found)
        raise AssertionError("refused without a reason")
    return found


def install(api: Flask) -> None:
    api.register_error_handler(Refused, lambda error: problem(error.status, error.detail, error.errors, error.headers))
    api.register_error_handler(NotFoundError, lambda _error: problem(404, _SENTENCES[404]))
    api.register_error_handler(NotAllowedError, lambda error: problem(403, error.sentence))
    api.register_error_handler(ConflictError, lambda error: problem(409, error.sentence))
    api.register_error_handler(BusyError, _busy)
    api.register_error_handler(SpecError, lambda error: _invalid(error.errors))
    api.register_error_handler(UnreadableError, _unreadable)
    api.register_error_handler(HTTPException, _http)
    api.register_error_handler(SQLAlchemyError, _away)
    api.register_error_handler(Exception, _bug)


def problem(
    status: int, detail: str, errors: Iterable[FieldError] = (), headers: dict[str, str] | None = None
) -> Response:
    """The answer of a refused request."""
    title = HTTPStatus(status).phrase
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    body["errors"] = [{"path": error.path, "message": error.message} for error in errors]
    return Response(json.dumps(body), status, headers, content_type=TYPE)


def _busy(error: BusyError) -> Response:
    return problem(429, error.sentence, headers={"Retry-After": str(error.retry_after)})


def _invalid(errors: list[FieldError]) -> Response:
    return problem(422, _said(errors), errors)


def _said(errors: list[FieldError]) -> str:
    return "; ".join(f"{error.path}: {error.message}" if error.path else error.message for error in errors[:3])


def _unreadable(error: UnreadableError) -> Response:
    if error.path:
        return _invalid([FieldError(error.path, error.sentence)])
    return problem(400, error.sentence)


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    messages = (getattr(error, "data", None) or {}).get("messages")
    if messages:
        return _invalid(list(_flat(messages)))
    headers = dict(error.get_headers()) if status in (405, 429) else {}
    headers.pop("Content-Type", None)
    return problem(status, _SENTENCES.get(status) or str(error.description), (), headers)


def _away(error: SQLAlchemyError) -> Response:
    """The database is unavailable, or another transaction has locked the rows to change."""
    if not is_away(error):
        return _bug(error)
    log.warning("database unavailable; API request not served", error=reason(error))
    return problem(503, _SENTENCES[503], (), {"Retry-After": "5"})


def _bug(error: Exception) -> Response:
    log.exception("unexpected error in an API request", exc_info=error)
    return problem(500, _SENTENCES[500])


def _flat(messages: Any, path: str = "") -> Iterable[FieldError]:
    """marshmallow's nested messages as paths; the place they came from (json, query) is left out."""
    if isinstance(messages, list):
        yield from (FieldError(path, str(message)) for message in messages)
        return
    for name, inner in messages.items():
        outermost = not path and name in ("json", "query", "headers", "_schema")
        step = "" if outermost or name == "_schema" else str(name)
        yield from _flat(inner, f"{path}.{step}".strip(".") if step else path)
