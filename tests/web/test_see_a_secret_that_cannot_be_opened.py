"""The list of webhooks says whose secret was sealed with another key, and what to do."""

from collections.abc import Callable

import pytest

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
