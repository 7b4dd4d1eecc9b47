"""A program counts what a webhook has not got and has it sent."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, update

from pbxhub.client import ProblemError
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.resends import Resend
from pbxhub.store.webhooks import Webhook, touch_webhooks
from tests.support.served import Served


@pytest.fixture
def missing(hub: Served, ids: dict[str, object]) -> str:
    """The address of a webhook that has not got the one stage there is."""
    with hub.database.write() as session:
        session.execute(delete(Delivery))
        session.execute(delete(Resend))
    return f"/webhooks/{ids['webhook_id']}"


@pytest.mark.slow
def test_what_is_missing_is_counted_ordered_and_refused_with_a_sentence(hub: Served, missing: str) -> None:
    now = datetime.now(UTC)
    period = {"since": (now - timedelta(hours=1)).isoformat(), "until": (now + timedelta(hours=1)).isoformat()}

    def refused(wanted: dict[str, str] = period, scope: str = "write") -> tuple[int, str]:
        with pytest.raises(ProblemError) as caught:
            hub.client(scope)._ask("POST", f"{missing}/replay", json=wanted)
        return caught.value.status, str(caught.value)

    client = hub.client()
    assert client._ask("GET", f"{missing}/missing", params=period).data == {"count": 1, "since": period["since"]}
    ever = client._ask("GET", f"{missing}/missing").data
    assert ever["count"] == 1
    assert timedelta(days=29) < now - datetime.fromisoformat(ever["since"]) < timedelta(days=30)
    assert refused(scope="read")[0] == 403
    for since, until in (("until", "since"), ("since", "since")):
        status, sentence = refused({"since": period[since], "until": period[until]})
        assert (status, "Nothing is missing in this time." in sentence) == (422, True)
    assert refused({"since": "9999-12-30T00:00:00Z", "until": "9999-12-31T00:00:00Z"})[0] == 422
    ordered = client._session.post(f"{client._address}{missing}/replay", json=period)
    assert (ordered.status_code, ordered.json()["total"], ordered.json()["state"]) == (202, 1, "running")
    for _more in range(4):
        client._ask("POST", f"{missing}/replay", json=period)
    assert refused()[0] == 429
    with pytest.raises(ProblemError, match="429: 5 such orders are running already"):
        client._ask("POST", "/resends", json={})
    with hub.database.write() as session:
        session.execute(update(Webhook).values(enabled=False))
        touch_webhooks(session, hub.project_id)
    assert refused()[0] == 409
