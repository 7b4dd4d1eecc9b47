"""A receiver breaks; a user finds out why, sends again and takes the rest off the list."""

from datetime import timedelta
from uuid import UUID

from playwright.sync_api import Page, expect
from sqlalchemy import select

from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.history import Call
from pbxhub.testing.receivers.receiver import Reply
from pbxhub.testing.waiting import await_until
from pbxhub.wsgi.current import now
from tests.support.site import Site, receiving, ring


def test_find_the_reason_repair_send_again_and_check(site: Site, anna: Page) -> None:
    answers = [Reply(500, b'{"error":"no disk space"}')]
    with receiving(lambda _request: answers[-1]) as receiver:
        anna.goto(f"{site.url}/projects/{site.project}/webhooks/new")
        anna.locator("[data-path=name] input").fill("Shaky")
        anna.locator("[data-path=url] input").fill(f"{receiver.url}/hook")
        anna.locator("#save").click()
        anna.get_by_role("link", name="Shaky").wait_for()
        for number in range(3):
            ring(site, f"1700000001.{number}")
        receiver.wait_for(3)
        problem = anna.locator("article.problem", has_text="Shaky")

        def recorded() -> None:  # the answer has left the receiver before the hub writes how it went
            anna.get_by_role("link", name="Webhook error check").click()
            assert problem.get_by_role("button", name="Send 3 again").count() == 1

        await_until(recorded, "30s")
        expect(problem).to_contain_text("The receiver failed while handling the request (500).")
        problem.get_by_role("link", name="See").click()
        anna.locator("tbody .row-link").first.click()
        expect(anna.get_by_text("no disk space").first).to_be_visible()
        answers.append(Reply(200))
        anna.get_by_role("link", name="Webhook error check").click()
        problem.get_by_role("button", name="Send 3 again").click()
        expect(anna.get_by_role("heading", name="Send 3 requests again")).to_be_visible()
        anna.get_by_role("button", name="Send 3 requests").click()
        expect(anna.locator("#resends")).to_contain_text("Sent again: 3 of 3 delivered")
        receiver.wait_for(6)

        def delivered() -> None:
            anna.goto(f"{site.url}/projects/{site.project}/deliveries?state=delivered")
            assert anna.locator("tbody tr", has_text="Shaky").count() == 3

        await_until(delivered, "30s")
        again = {request.header("webhook-id") for request in receiver.requests}
        assert len(again) == 3


def test_chosen_failures_are_checked_and_the_rest_stays(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/errors")
    before = int(anna.locator(".nav-entry .badge").inner_text())
    rows = anna.locator("tbody input[name=id]")
    rows.nth(0).check()
    rows.nth(1).check()
    expect(anna.locator("[data-chosen]").first).to_have_text("2")
    anna.locator("#chosen").get_by_role("button", name="Checked").click()
    expect(anna.get_by_text("2 taken off the list.")).to_be_visible()
    expect(anna.locator(".nav-entry .badge")).to_have_text(str(before - 2))


def test_new_rows_wait_for_a_click_and_nothing_moves(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/deliveries")
    top = anna.locator("tbody tr").first.inner_text()
    ring(site, "1700000002.1")
    expect(anna.locator(".newer")).to_contain_text("new", timeout=15_000)
    assert anna.locator("tbody tr").first.inner_text() == top
    anna.locator(".newer").click()
    expect(anna.locator("tbody tr").first).not_to_have_text(top)


def test_what_was_opened_stays_open_while_a_page_renews_itself(site: Site, anna: Page) -> None:
    ring(site, "1700000009.1", over=False)
    with site.database.read() as session:
        call = session.scalars(select(Call.id).where(Call.linkedid == "1700000009.1")).one()
    anna.goto(f"{site.url}/projects/{site.project}/calls/{call}")
    card = anna.locator("#call")
    anna.locator("#call details.parameters summary").click()
    for _ in range(2):
        with anna.expect_response(lambda answer: "/calls/" in answer.url and answer.request.resource_type == "xhr"):
            pass
    expect(card.locator("details.parameters")).to_have_attribute("open", "")


def test_the_attempt_that_was_opened_stays_in_view_when_the_next_one_has_been_made(site: Site, anna: Page) -> None:
    delivery = _tried_again(site, 2)
    anna.goto(f"{site.url}/projects/{site.project}/deliveries/{delivery}")
    expect(anna.locator("#attempt-2")).to_be_visible()
    anna.get_by_text("Attempt 1", exact=True).click()
    for tries in (3, 4):  # the second time without the click
        _tried_again(site, tries, delivery)
        expect(anna.get_by_text(f"Attempt {tries}", exact=True)).to_be_visible()
        expect(anna.locator("#attempt-1")).to_be_visible()
        expect(anna.locator(f"#attempt-{tries}")).to_be_hidden()
        expect(anna.get_by_role("radio", name="Attempt 1")).to_be_focused()


def test_who_has_opened_no_attempt_sees_the_newest(site: Site, anna: Page) -> None:
    delivery = _tried_again(site, 2)
    anna.goto(f"{site.url}/projects/{site.project}/deliveries/{delivery}")
    _tried_again(site, 3, delivery)
    expect(anna.locator("#attempt-3")).to_be_visible()
    expect(anna.locator("#attempt-2")).to_be_hidden()


def test_a_page_that_shows_everything_already_is_left_alone(site: Site, anna: Page) -> None:
    delivery = _tried_again(site, 1)
    anna.goto(f"{site.url}/projects/{site.project}/deliveries/{delivery}")
    anna.evaluate("document.getElementById('delivery').stays = true")
    for _ in range(3):
        with anna.expect_response(lambda answer: str(delivery) in answer.url) as heard:
            pass
        assert heard.value.status == 204
    assert anna.evaluate("document.getElementById('delivery').stays")


def _tried_again(site: Site, tries: int, known: UUID | None = None) -> UUID:
    """A delivery that waits for its next attempt after so many; the one given, or the first that has failed."""
    with site.database.write() as session:
        first = select(Delivery.id).where(Delivery.state == "failed").order_by(Delivery.id).limit(1)
        row = session.get_one(Delivery, known or session.scalars(first).one())
        made = {attempt.number for attempt in session.scalars(select(Attempt).where(Attempt.delivery_id == row.id))}
        row.state, row.attempts, row.due_at = "pending", tries, now() + timedelta(days=1)
        for number in set(range(1, tries + 1)) - made:
            session.add(Attempt(delivery_id=row.id, number=number, started_on=now(), finished_on=now(),
                                outcome="connect_refused"))  # fmt: skip
        return row.id
