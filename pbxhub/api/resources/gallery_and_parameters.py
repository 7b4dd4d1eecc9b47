"""Ready-made integrations, and the parameters that <<name>> accepts."""

from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.ready_made import Answers, add_ready
from pbxhub.api.authentication import changes, needs, reads
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.problems import refuse
from pbxhub.api.resources.webhooks import show
from pbxhub.api.schemas import webhooks as schemas
from pbxhub.api.schemas.base import page_of
from pbxhub.webhooks.catalogue import ENTRIES, FAMILIES
from pbxhub.webhooks.gallery import Item, find, gallery
from pbxhub.webhooks.spec import dump_spec

catalogue = Blueprint("catalogue", __name__, description="Ready-made integrations, and parameters")


@catalogue.get("/gallery")
@catalogue.response(200, page_of(schemas.GalleryItem))
@needs("account.read")
def items() -> Any:
    """Ready-made events for common systems."""
    return {"items": [_item(item) for item in gallery()], "next": None}


@catalogue.get("/gallery/<item_id>")
@catalogue.response(200, schemas.GalleryItem)
@needs("account.read")
def item(item_id: str) -> Any:
    """One integration: the values it needs and the events it adds."""
    return _item(_found(item_id))


@catalogue.post("/gallery/<item_id>")
@catalogue.arguments(schemas.GalleryAnswers)
@catalogue.response(201, page_of(schemas.Webhook))
@changes("webhooks.change")
def add(session: Session, access: Access, data: dict[str, Any], item_id: str) -> Any:
    """Adds the events of an integration, switched off: check the preview, send a test, switch them on."""
    chosen = _found(item_id)
    given = Answers(data["answers"], data["secret"], data["connection"], data["client_id"], data["dial"])
    added = add_ready(session, access, chosen, given)
    return {"items": [show(access, row) for row in added], "next": None}


@catalogue.get("/parameters")
@catalogue.response(200, page_of(schemas.Parameter))
@reads("account.read")
def parameters(_session: Session, _access: Access) -> Any:
    """Every parameter, and the prefixes of those whose names you choose."""
    families = [
        {"name": f"{one.prefix}NAME" if one.prefix.endswith(".") else one.prefix, "type": one.type, "aliases": [],
         "meaning": one.meaning, "stages": one.stages, "example": one.example, "source": one.source}
        for one in FAMILIES
    ]  # fmt: skip
    return {"items": [*ENTRIES, *families], "next": None}


def _found(item_id: str) -> Item:
    return find(item_id) or refuse(404, "There is no such integration; see /gallery.")


def _item(item: Item) -> dict[str, Any]:
    ready = [{"name": one.name, "stage": one.stage, "spec": dump_spec(one.spec)} for one in item.webhooks]
    return {"id": item.id, "name": item.name, "category": item.category, "connection": item.connection,
            "dial": item.dial, "description": item.description, "note": item.note,
            "secret": item.secret, "ask": item.ask, "webhooks": ready}  # fmt: skip
