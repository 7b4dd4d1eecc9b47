"""Health checks for load balancers and monitors, without signing in.

`/health` tells a stranger whether the pages can be served, and nothing about the hub. `/health/parts` names parts,
projects and PBXs, so it is for operators, and for monitors with the token of PBXHUB_HEALTH_TOKEN.
"""

import hmac
from datetime import datetime

from flask import Blueprint, abort, jsonify, request
from flask.typing import ResponseReturnValue
from flask_login import current_user
from sqlalchemy.exc import SQLAlchemyError

from pbxhub import __version__
from pbxhub.account.hub_health import hub_health
from pbxhub.store.schema_revision import is_current
from pbxhub.store.sqlite_file import FileGoneError
from pbxhub.wsgi.current import hub, now, reading

pages = Blueprint("health", __name__)


@pages.get("/health")
def health() -> ResponseReturnValue:
    """200 with {"status": "ok"} when the database answers and its schema is the newest; 503 with what is wrong."""
    trouble = _trouble()
    return (jsonify(status="error", **trouble), 503) if trouble else jsonify(status="ok", **_WELL)


@pages.get("/health/parts")
def parts() -> ResponseReturnValue:
    """Every part and every PBX. 200 when all of them work, otherwise 503; 404 for strangers."""
    if not _may_know():
        abort(404)
    if trouble := _trouble():
        return jsonify(status="error", version=__version__, **trouble), 503
    with reading() as session:
        found = hub_health(session, hub().settings, now())
    answer = jsonify(
        status="ok" if found.well else "degraded", version=__version__, **_WELL,
        parts={part.name: {"status": "ok" if part.works else "lost", "seen_on": _iso(part.seen_on)}
               for part in found.parts},
        pbxs=[{"id": pbx.id, "name": pbx.name, "project": pbx.project, "status": "lost" if pbx.lost_since else "ok",
               "lost_since": _iso(pbx.lost_since), "reason": pbx.reason, "last_event_on": _iso(pbx.last_event_on),
               "host": pbx.host}
              for pbx in found.pbxs],
    )  # fmt: skip
    return answer, 200 if found.well else 503


_WELL = {"database": "ok", "schema": "current"}


def _trouble() -> dict[str, str]:
    """What keeps the hub from working at all; empty when nothing does."""
    try:
        current = is_current(hub().database)
    except SQLAlchemyError as error:
        gone = getattr(error, "orig", None)
        return {"database": str(gone) if isinstance(gone, FileGoneError) else "unreachable", "schema": "unknown"}
    return {} if current else {"database": "ok", "schema": "outdated: run pbxhub migrate"}


def _may_know() -> bool:
    wanted, given = hub().settings.health_token, request.headers.get("Authorization", "")
    if wanted and hmac.compare_digest(given.encode(), f"Bearer {wanted}".encode()):
        return True
    return bool(getattr(current_user, "operator", False))


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
