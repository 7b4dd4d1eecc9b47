"""A user looks for a call by a number as it stands on a visiting card, in a chat, or in the memory."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from pbxhub.store.accounts import Pbx
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]
TYPED = ["0675298953", "+38 (067) 529-89-53", "5298953", "380675298953", "+380675298953", "067 529", "+38067"]


@pytest.fixture
def two_calls(database: Database, people: People) -> None:
    """One call of the number that is looked for, one of another; a delivery of each."""
    with database.write() as session:
        hook = Webhook(project_id=people.project, name="Lead", stage="incoming.after", position=1, created_on=now())
        pbx = Pbx(project_id=people.project, name="P", host="h", username="u", secret_sealed="", created_on=now())
        session.add_all([hook, pbx])
        session.flush()
        for number, stored in (("+380675298953", "0675298953"), ("+380441112233", "+380441112233")):
            ended = now() - timedelta(minutes=1)
            call = Call(id=new_id(), project_id=people.project, pbx_id=pbx.id, linkedid=stored, direction="incoming",
                        caller=stored, person=number, dst="380445556677", started_on=ended, ended_on=ended)  # fmt: skip
            session.add(call)
            session.flush()
            session.add(
                Delivery(
                    id=new_id(),
                    project_id=people.project,
                    webhook_id=hook.id,
                    webhook_revision=1,
                    call_id=call.id,
                    kind="stage",
                    lane=1,
                    state="delivered",
                    method="POST",
                    url="https://crm.example.com/",
                    headers=[],
                    body=b"",
                    due_at=ended,
                    created_on=ended,
                )
            )


@pytest.mark.usefixtures("two_calls")
@pytest.mark.parametrize(("page", "typed"), [("calls", TYPED), ("deliveries", TYPED[:5])], ids=["calls", "deliveries"])
def test_it_is_found_however_it_is_typed(page: str, typed: list[str], people: People, signed_in: SignedIn) -> None:
    viewer = signed_in("viewer")
    for number in typed:
        answer = viewer.get(f"/projects/{people.project}/{page}", query_string={"number": number})
        text = answer.get_data(as_text=True)
        assert "0675298953</a>" in text, number
        assert "+380441112233</a>" not in text, number


@pytest.mark.usefixtures("two_calls")
def test_another_number_is_not_found(people: People, signed_in: SignedIn) -> None:
    page = signed_in("viewer").get(f"/projects/{people.project}/calls?number=5298954")
    assert "No call matches" in page.get_data(as_text=True)
