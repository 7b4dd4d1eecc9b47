"""The list of webhooks says whose secret was sealed with another key, and what to do."""

from collections.abc import Callable

import pytest

from pbxhub.maintenance.rotate_key import find_unreadable
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.vault import Vault
from pbxhub.webhooks.spec import Auth, RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People

SAID = "Its secret cannot be decrypted: it was encrypted with another PBXHUB_SECRET_KEY."


@pytest.mark.parametrize("column", ["secret_sealed", "tls_key_sealed", "signing_sealed"])
def test_the_webhook_says_so(
    signed_in: Callable[[str], Browser], people: People, database: Database, column: str
) -> None:
    editor, page = signed_in("editor"), f"/projects/{people.project}/webhooks"
    request = RequestSpec(url="https://crm.example.com/calls", auth=Auth("bearer"))
    with database.write() as session:
        hook = Webhook(project_id=people.project, name="CRM", stage="incoming.after", spec=WebhookSpec(request),
                       created_on=now())  # fmt: skip
        session.add(hook)
    before = editor.get(page)
    assert (before.status_code, SAID in before.text) == (200, False)
    with database.write() as session:
        setattr(session.get_one(Webhook, hook.id), column, Vault(b"o" * 32).seal("token"))
    assert SAID in editor.get(page).text


def test_a_deleted_webhook_keeps_no_secret_that_could_stop_a_change_of_the_key(
    signed_in: Callable[[str], Browser], people: People, database: Database
) -> None:
    editor, page = signed_in("editor"), f"/projects/{people.project}/webhooks"
    sealed = Vault(b"o" * 32).seal("token")
    request = RequestSpec(url="https://crm.example.com/calls", auth=Auth("bearer"))
    with database.write() as session:
        hook = Webhook(project_id=people.project, name="CRM", stage="incoming.after", spec=WebhookSpec(request),
                       created_on=now(), secret_sealed=sealed, tls_key_sealed=sealed,
                       signing_sealed=sealed)  # fmt: skip
        session.add(hook)
    assert editor.post(f"{page}/{hook.id}/delete").status_code == 302
    with database.read() as session:
        assert session.get_one(Webhook, hook.id).secrets_sealed == ("", "", "")
    assert [*find_unreadable(database, Vault(b"n" * 32))] == []
