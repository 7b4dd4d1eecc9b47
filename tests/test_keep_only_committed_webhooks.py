"""A change of webhooks that is rolled back, or belongs to a project that is gone, changes nothing of what is sent."""

import pytest
from sqlalchemy import delete, select, update

from pbxhub.store.accounts import Project
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from tests.support.outbox_world import BEFORE, World, at, context_of, report, spec, take

NEW = "http://127.0.0.1:9/new"


class UndoneError(Exception):
    """Whatever made a transaction end without a commit."""


def change(database: Database, world: World, url: str, undone: bool = False) -> None:
    """Changes the webhook and uses what it has become in the same transaction, as a publish that adds one does."""
    with database.write() as session:
        session.execute(update(Webhook).where(Webhook.id == world.webhooks[0]).values(spec=spec(url)))
        touch_webhooks(session, world.project_id)
        (seen,) = context_of(database).webhook_cache.fetch(session, [world.project_id])[world.project_id].by_id.values()
        assert seen.spec.request.url == url  # its own change, it sees
        if undone:
            raise UndoneError


def sent_to(database: Database, world: World, linkedid: str) -> str:
    world.publish(report(linkedid, BEFORE))
    (claimed,) = take(database, 1).claimed
    return claimed.request.url


def test_a_change_that_was_rolled_back_is_never_used(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec("http://127.0.0.1:9/old"))
    assert sent_to(database, world, "1.1") == "http://127.0.0.1:9/old"
    with pytest.raises(UndoneError):
        change(database, world, "http://127.0.0.1:9/never", undone=True)
    with database.write() as session:  # nobody has asked meanwhile: this one gets the revision that the other had
        session.execute(update(Webhook).where(Webhook.id == world.webhooks[0]).values(spec=spec(NEW)))
        touch_webhooks(session, world.project_id)
    assert sent_to(database, world, "1.2") == NEW


def test_a_change_that_was_committed_is_used(database: Database) -> None:
    world = World(database)
    world.webhook()
    change(database, world, NEW)
    assert sent_to(database, world, "1.1") == NEW


def test_a_project_with_the_id_of_a_deleted_one_has_none_of_its_webhooks(database: Database) -> None:
    gone = World(database)
    gone.webhook(what=spec("http://127.0.0.1:9/of-another-tenant"))
    sent_to(database, gone, "1.1")
    with database.write() as session:
        revision = session.get_one(Project, gone.project_id).webhooks_revision
        session.execute(delete(Project).where(Project.id == gone.project_id))
    with database.write() as session:  # SQLite gives the id again by itself
        session.add(Project(id=gone.project_id, name="new", created_on=at(60), webhooks_revision=revision))
    with database.read() as session:
        found = context_of(database).webhook_cache.fetch(session, session.scalars(select(Project.id)))
    assert [project.by_id for project in found.values()] == [{}]
