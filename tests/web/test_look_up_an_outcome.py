"""A user follows the link of a failed request to the page that says what it means and what helps."""

from collections.abc import Callable

import pytest

from pbxhub.sending.outcome_pages import EXPLANATIONS
from pbxhub.sending.outcomes import OUTCOMES
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.session import Database
from tests.support.people import Browser, People


def test_every_outcome_has_a_page_for_everybody(browser: Callable[[], Browser]) -> None:
    visitor = browser()
    index = visitor.get("/errors").text
    for outcome in OUTCOMES.values():
        assert f'href="/errors/{outcome.number}"' in index
        page = visitor.get(f"/errors/{outcome.number}")
        assert page.status_code == 200
        assert outcome.code in page.text
    refused = visitor.get("/errors/3").text
    assert EXPLANATIONS["http_4xx"].cause in refused
    assert ">429</th>" in refused
    assert "Отримувач відхилив запит." in visitor.get("/errors/3", headers={"Accept-Language": "uk"}).text
    assert [visitor.get(f"/errors/{number}").status_code for number in (0, 31, "9" * 30, "x")] == [404] * 4


@pytest.mark.slow
def test_the_pages_of_a_failure_lead_there(
    database: Database, people: People, things: dict[str, object], signed_in: Callable[[str], Browser]
) -> None:
    with database.write() as session:
        row = session.get_one(Delivery, things["delivery_id"])
        row.outcome, row.message = "connect_refused", "Nothing accepts connections at the address of the receiver."
        session.get_one(Call, things["call_id"]).caller = "+380671112233"
    viewer, project = signed_in("viewer"), f"/projects/{people.project}"
    for page in (f"{project}/errors", f"{project}/deliveries", f"{project}/deliveries/{things['delivery_id']}",
                 f"{project}/webhooks/{things['webhook_id']}"):  # fmt: skip
        assert 'href="/errors/8"' in viewer.get(page).text, page
    assert "Nothing accepts connections" in viewer.get("/errors/8").text
