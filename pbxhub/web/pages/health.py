"""The health check for load balancers and monitors, without signing in."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.store.migrate import is_current
from pbxhub.store.sqlite_file import FileGoneError
from pbxhub.wsgi.current import hub

pages = Blueprint("health", __name__)


@pages.get("/health")
def health() -> ResponseReturnValue:
    """200 with {"status": "ok"} when the database answers and its schema is the newest; 503 with what is wrong."""
    try:
        current = is_current(hub().database)
    except SQLAlchemyError as error:
        gone = getattr(error, "orig", None)
        what = str(gone) if isinstance(gone, FileGoneError) else "unreachable"
        return jsonify(status="error", database=what, schema="unknown"), 503
    if not current:
        return jsonify(status="error", database="ok", schema="outdated: run pbxhub migrate"), 503
    return jsonify(status="ok", database="ok", schema="current")
