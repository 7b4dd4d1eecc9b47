"""An editor undoes what a press too many has done to a webhook."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import select, update

from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, remember_version
from pbxhub.webhooks.spec import Auth, RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People


def add(database: Database, people: People, auth: Auth) -> int:
    with database.write() as session:
        hook = Webhook(project_id=people.project, name="CRM", stage="incoming.after", created_on=now(),
                       spec=WebhookSpec(RequestSpec(url="https://crm.example.com/", auth=auth)),
                       secret_sealed="sealed" if auth.kind != "none" else "")  # fmt: skip
        session.add(hook)
        session.flush()
        remember_version(session, hook, None, now())
        return hook.id


def press_undo(editor: Browser, page: str) -> str:
    found = re.search(r'action="([^"]+)">\s*<input[^>]*>\s*<button class="btn btn-sm">.{0,300}?Undo', page, re.DOTALL)
    assert found, page
    return editor.post(unescape(found[1]), follow_redirects=True).text


@pytest.mark.parametrize(("auth", "is_on"), [(Auth(), True), (Auth("bearer"), False)], ids=["open", "with a secret"])
def test_a_deleted_webhook_comes_back(
    database: Database, people: People, signed_in: Callable[[str], Browser], auth: Auth, is_on: bool
) -> None:
    hook, editor = add(database, people, auth), signed_in("editor")
    editor.get(f"/projects/{people.project}/webhooks")
    page = editor.post(f"/projects/{people.project}/webhooks/{hook}/delete", follow_redirects=True).text
    assert "CRM is there again" in press_undo(editor, page)
    with database.read() as session:
        row = session.get_one(Webhook, hook)
        assert (row.deleted_on, row.enabled) == (None, is_on)


def test_it_comes_back_for_a_day_only_and_for_editors_only(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    hook, editor, viewer = add(database, people, Auth()), signed_in("editor"), signed_in("viewer")
    back = f"/projects/{people.project}/webhooks/{hook}/bring-back"
    assert editor.post(back).status_code == 404, "it is not deleted"
    with database.write() as session:
        session.execute(update(Webhook).values(deleted_on=now() - timedelta(hours=25)).where(Webhook.id == hook))
    assert editor.post(back).status_code == 404
    with database.write() as session:
        session.execute(update(Webhook).values(deleted_on=now() - timedelta(hours=23)).where(Webhook.id == hook))
    assert viewer.post(back).status_code == 403
    assert editor.post(back).status_code == 302


def test_it_does_not_come_back_beside_one_that_has_got_its_name(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    hook, editor = add(database, people, Auth()), signed_in("editor")
    editor.get(f"/projects/{people.project}/webhooks")
    page = editor.post(f"/projects/{people.project}/webhooks/{hook}/delete", follow_redirects=True).text
    newer = add(database, people, Auth())
    page = press_undo(editor, page)
    assert "CRM: Another event of this project has this name. Rename or delete that one first." in page
    with database.write() as session:
        assert session.get_one(Webhook, hook).deleted_on is not None
        session.get_one(Webhook, newer).name = "Other CRM"
    assert "CRM is there again" in press_undo(editor, page), "the button is there again"


def test_it_does_not_come_back_when_the_project_is_full(
    database: Database, people: People, signed_in: Callable[[str], Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbxhub.account.webhooks.MOST_WEBHOOKS", 1)
    hook, editor = add(database, people, Auth()), signed_in("editor")
    editor.get(f"/projects/{people.project}/webhooks")
    editor.post(f"/projects/{people.project}/webhooks/{hook}/delete")
    with database.write() as session:
        session.add(Webhook(project_id=people.project, name="New", stage="incoming.after", created_on=now(),
                            spec=WebhookSpec()))  # fmt: skip
    back = f"/projects/{people.project}/webhooks/{hook}/bring-back"
    assert "The project may have 1 events at most." in editor.post(back, follow_redirects=True).text


def test_a_pause_is_undone_and_never_turned_into_another_one(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    hook, editor = add(database, people, Auth()), signed_in("editor")
    editor.get(f"/projects/{people.project}/webhooks")
    page = editor.post(f"/projects/{people.project}/webhooks/{hook}/pause", follow_redirects=True).text
    assert "CRM is paused" in page
    for _press in range(2):
        press_undo(editor, page)
        with database.read() as session:
            assert session.scalar(select(Webhook.paused_on).where(Webhook.id == hook)) is None
