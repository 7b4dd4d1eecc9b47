"""Filters of lists that are saved for the project."""

from typing import Any

from flask import request
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.saved_filters import delete_filter, filter_of, save_filter, saved_filters
from pbxhub.api.authentication import changes, reads
from pbxhub.api.problems import accepted
from pbxhub.api.resources.account import account
from pbxhub.api.schemas import account as schemas
from pbxhub.api.schemas.base import page_of
from pbxhub.store.accounts import SavedFilter


@account.get("/filters")
@account.response(200, page_of(schemas.SavedFilter))
@reads("account.read")
def filters(session: Session, access: Access) -> Any:
    """The saved filters of the project; those of its members are their own."""
    return {"items": [_shown(access, row) for row in saved_filters(session, access)], "next": None}


@account.post("/filters")
@account.arguments(schemas.SavedFilter)
@account.response(201, schemas.SavedFilter)
@changes("filters.change")
def add_filter(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Saves a filter for the project; one of the same name and list is replaced."""
    row = accepted(save_filter(session, access, data["page"], data["name"], data["fields"], shared=True))
    return _shown(access, row), {"Location": f"{request.script_root}/filters/{row.id}"}


@account.delete("/filters/<int:filter_id>")
@account.response(204)
@changes("filters.change")
def remove_filter(session: Session, access: Access, filter_id: int) -> None:
    """Deletes a saved filter of the project."""
    delete_filter(session, access, filter_of(session, access, filter_id))


def _shown(access: Access, row: SavedFilter) -> dict[str, Any]:
    known = {name: getattr(row, name) for name in ("id", "page", "name", "fields", "created_on")}
    return {**known, "url": access.hub.context.links.saved_filter(access.project.id, row.id)}
