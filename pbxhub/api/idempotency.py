"""A POST with an Idempotency-Key takes effect once; a repetition gets the answer of the first request."""

import hashlib
from datetime import timedelta
from typing import Any

from flask import Flask, Response, g, request
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from pbxhub.api.problems import problem
from pbxhub.store.api import KeptAnswer
from pbxhub.wsgi.current import hub, now

KEPT = timedelta(hours=24)
_LONGEST = timedelta(minutes=1)  # after this, an unfinished first request was lost with its process
_HEADERS = ("Content-Type", "Location", "ETag")


def install(api: Flask) -> None:
    api.before_request(_repeat)
    api.after_request(_keep)
    api.teardown_request(_let_go)


def _repeat() -> Any:
    key = request.headers.get("Idempotency-Key")
    if request.method != "POST" or key is None or not hasattr(g, "key"):
        return None
    if not 1 <= len(key) <= 255:
        return problem(422, "Idempotency-Key: give 1 to 255 characters.")
    project_id, digest = g.key.project_id, _digest()
    try:
        with hub().database.write() as session:
            session.execute(delete(KeptAnswer).where(KeptAnswer.created_on < now() - KEPT))
            session.add(KeptAnswer(project_id=project_id, key=key, request_hash=digest, created_on=now()))
    except IntegrityError:
        return _again(project_id, key, digest)
    g.idempotency = (project_id, key)
    return None


def _again(project_id: int, key: str, digest: str) -> Response:
    with hub().database.read() as session:
        known = session.get(KeptAnswer, (project_id, key))
    if known and known.status == 0 and now() - known.created_on > _LONGEST:
        return problem(
            409, "The hub stopped during the first request. Check whether it took effect, then use another key."
        )
    if known is None or known.status == 0:
        return problem(409, "The first request with this Idempotency-Key is still running; try again in a moment.")
    if known.request_hash != digest:
        return problem(422, "This Idempotency-Key was used for another request or by another API key. Use a new one.")
    headers = {pair[0]: pair[1] for pair in known.headers} | {"Idempotent-Replayed": "true"}
    return Response(known.body, known.status, headers)


def _digest() -> str:
    """A digest of the request and the API key, so that one key cannot read the answer of another."""
    request_line = f"{g.key.id} {request.path}?{request.query_string.decode('latin-1')}\n".encode()
    return hashlib.sha256(request_line + request.get_data()).hexdigest()


def _keep(response: Response) -> Response:
    """Stores final answers. Errors of the hub and exceeded rates are not stored, so the request may be tried again."""
    claimed = g.pop("idempotency", None)
    if claimed is None:
        return response
    if response.status_code >= 500 or response.status_code in (409, 429):
        g.idempotency = claimed
        return response
    headers = [[name, response.headers[name]] for name in _HEADERS if name in response.headers]
    with hub().database.write() as session:
        session.execute(
            update(KeptAnswer)
            .where(KeptAnswer.project_id == claimed[0], KeptAnswer.key == claimed[1])
            .values(status=response.status_code, headers=headers, body=response.get_data())
        )
    return response


def _let_go(_error: BaseException | None) -> None:
    claimed = g.pop("idempotency", None)
    if claimed is not None:
        with hub().database.write() as session:
            session.execute(delete(KeptAnswer).where(KeptAnswer.project_id == claimed[0], KeptAnswer.key == claimed[1]))
