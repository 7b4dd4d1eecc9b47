"""REST hooks: named hooks that programs subscribe to, and call."""

import json
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.refusals import ConflictError, NotFoundError, Refusal
from pbxhub.account.secret_visibility import visible_spec
from pbxhub.account.texts import refuse_address
from pbxhub.delivery.outbox import call_resthook, subscribe, unsubscribe
from pbxhub.store.accounts import lock_project
from pbxhub.store.api import Resthook, Subscriber
from pbxhub.store.webhooks import Webhook
from pbxhub.translatable import say
from pbxhub.webhooks.matching import compile_filters
from pbxhub.webhooks.spec import SpecError, load_spec
from pbxhub.webhooks.template import TemplateError
from pbxhub.webhooks.urls import compile_url
from pbxhub.webhooks.whole_event import SUBSCRIBABLE

MOST_SUBSCRIBERS = 100


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscriber with the name of its hook. webhook: of the hub's own, by which it is sent to."""

    subscriber: Subscriber
    hook: str
    webhook: Webhook


_LARGEST_PAYLOAD = 256 * 1024  # bytes
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def add_hook(session: Session, access: Access, name: str) -> Resthook:
    """A new hook. Raises ConflictError when the project has one of this name."""
    row = Resthook(project_id=access.project.id, name=name, created_on=access.now)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise ConflictError(say("The project has a hook of this name already.")) from None
    note(session, access, "REST hook added", row.name)
    return row


def remove_hook(session: Session, access: Access, name: str) -> None:
    """Removes a hook with its subscribers; what is queued for them is cancelled."""
    row = hook_of(session, access, name)
    for subscriber in subscribers_of(session, row):
        unsubscribe(session, access.project.id, subscriber, access.now)
    session.delete(row)
    note(session, access, "REST hook removed", name)


def hooks_after(session: Session, access: Access, after: int, limit: int) -> list[tuple[Resthook, int]]:
    """The hooks of the project with the number of their subscribers, by id. after: the last id of the page before."""
    count = select(func.count()).where(Subscriber.resthook_id == Resthook.id).scalar_subquery()
    query = select(Resthook, count).where(Resthook.project_id == access.project.id, Resthook.id > after)
    return [(row[0], row[1]) for row in session.execute(query.order_by(Resthook.id).limit(limit))]


def hook_of(session: Session, access: Access, name: str) -> Resthook:
    """A hook of the project. Raises NotFoundError."""
    mine = select(Resthook).where(Resthook.project_id == access.project.id, Resthook.name == name[:80])
    row = session.scalar(mine)
    if row is None:
        raise NotFoundError
    return row


def subscribers_of(session: Session, hook: Resthook) -> list[Subscriber]:
    """Who is subscribed, oldest first."""
    return list(session.scalars(select(Subscriber).where(Subscriber.resthook_id == hook.id).order_by(Subscriber.id)))


def count_subscribers(session: Session, access: Access) -> int:
    """Of all hooks of the project."""
    count = select(func.count(Subscriber.id)).join(Resthook, Resthook.id == Subscriber.resthook_id)
    return session.scalars(count.where(Resthook.project_id == access.project.id)).one()


def add_subscriber(
    session: Session, access: Access, name: str, url: str, filters: Any = ()
) -> Subscriber | list[Refusal]:
    """Subscribes an address to a hook; one that is subscribed already stays, with these filters. The hook of a stage,
    which is called like the stage, need not be added before. Raises ConflictError when it is full."""
    if refused := refuse_address(access, "target_url", url) or _refuse_changed(name, url):
        return [refused]
    if refusals := _refuse_filters(access, name, filters):
        return refusals
    lock_project(session, access.project.id)  # counting, looking for the address and inserting are one
    hook = _stage_hook(session, access, name) if name in SUBSCRIBABLE else hook_of(session, access, name)
    known = [one.target_url for one in subscribers_of(session, hook)]
    if url not in known and len(known) >= MOST_SUBSCRIBERS:
        raise ConflictError(say("The hook has %(n)s subscribers, as many as it may have.", n=MOST_SUBSCRIBERS))
    wanted = load_spec({"filters": filters}).filters if filters else ()
    found = subscribe(session, hook, url, access.now, wanted)
    note(session, access, "REST hook subscribed", name)
    return found


def _refuse_changed(name: str, url: str) -> Refusal | None:
    """Refuses an address that would not be requested letter by letter. That of a stage goes through the same rules as
    the URL of a webhook, which would fill in parameters and write %zz as %25zz."""
    if "<<" in url:
        remedy = say("Leave out << and what follows: the body has every parameter of the call.")
        return Refusal("target_url", say("The address of a subscriber has no parameters."), remedy)
    if name not in SUBSCRIBABLE:
        return None
    if _PERCENT.search(url):
        remedy = say("Write %(code)s for the character itself.", code="%25")
        return Refusal(
            "target_url", say("In an address, two hexadecimal digits follow each %(sign)s.", sign="%"), remedy
        )
    try:
        compile_url(url)
    except TemplateError as error:
        return Refusal("target_url", say("%(why)s.", why=error.messages[0]), say("Correct it."))
    return None


def _refuse_filters(access: Access, name: str, filters: Any) -> list[Refusal]:
    if not filters:
        return []
    if name not in SUBSCRIBABLE:
        remedy = say("Leave them out, or subscribe to a stage of calls: %(known)s.", known=", ".join(SUBSCRIBABLE))
        return [Refusal("filters", say("What programs send to this hook has no filters."), remedy)]
    try:
        compile_filters(load_spec({"filters": filters}), access.calendar)
    except SpecError as error:
        return [Refusal(each.path, say("%(why)s.", why=each.message), say("Correct it.")) for each in error.errors]
    return []


def _stage_hook(session: Session, access: Access, name: str) -> Resthook:
    mine = select(Resthook).where(Resthook.project_id == access.project.id, Resthook.name == name)
    return session.scalar(mine) or add_hook(session, access, name)


def subscriptions(session: Session, access: Access) -> list[Subscription]:
    """Who is subscribed to what, by hook."""
    query = (
        select(Subscriber, Resthook.name, Webhook)
        .join(Resthook, Resthook.id == Subscriber.resthook_id)
        .join(Webhook, Webhook.id == Subscriber.webhook_id)
        .where(Resthook.project_id == access.project.id)
        .order_by(Resthook.name, Subscriber.id)
    )
    return [Subscription(*row) for row in session.execute(query)]


def filters_of(session: Session, access: Access, subscriber: Subscriber) -> Any:
    """Its filters as in a webhook."""
    return visible_spec(access, session.get_one(Webhook, subscriber.webhook_id).spec).get("filters", [])


def remove_subscriber(session: Session, access: Access, name: str, subscriber_id: int) -> None:
    """Unsubscribes an address. Raises NotFoundError."""
    hook, found = hook_of(session, access, name), session.get(Subscriber, subscriber_id)
    if found is None or found.resthook_id != hook.id:
        raise NotFoundError
    unsubscribe(session, access.project.id, found, access.now)
    note(session, access, "REST hook unsubscribed", name)


def call_hook(session: Session, access: Access, name: str, payload: Any) -> tuple[UUID, ...] | list[Refusal]:
    """Sends the payload to every subscriber; an event records it even when there is none. The ids of the
    deliveries. The hook of a stage is refused: its subscribers hear of real calls only."""
    if name in SUBSCRIBABLE:
        remedy = say("Call a hook of your own, which is not named after a stage.")
        return [Refusal("name", say("Only the hub calls the hook of a stage, for each call."), remedy)]
    body = json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
    if len(body) > _LARGEST_PAYLOAD:
        return [Refusal("payload", say("This has more than 256 KB."), say("Send less, or an address to fetch it."))]
    hook = hook_of(session, access, name)
    return tuple(call_resthook(access.hub.context, session, hook, payload, body, access.now))
