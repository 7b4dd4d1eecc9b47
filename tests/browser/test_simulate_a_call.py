"""A user without a PBX plays calls through their webhooks and sees each request leave, and looks after a webhook."""

import json
from collections.abc import Callable

from playwright.sync_api import Page, expect
from sqlalchemy import update

from pbxhub.store.accounts import Membership
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.receivers.receiver import Receiver
from pbxhub.webhooks.spec import Parameter, RequestSpec, WebhookSpec
from tests.support.site import Site, ring, sign_in


def to_receiver(site: Site, receiver: Receiver) -> None:
    """Calls to the CRM (2) and Missed call (3) go to a receiver of the test, the others are switched off."""
    with site.database.write() as session:
        session.execute(update(Webhook).where(Webhook.id > 3).values(enabled=False))
        for row in session.query(Webhook).where(Webhook.id.in_((2, 3))):
            sent = (Parameter("phone", "text", "<<caller>>"), Parameter("how", "text", "<<disposition>>"))
            row.secret_sealed = ""
            row.spec = WebhookSpec(RequestSpec(url=f"{receiver.url}/{row.id}", parameters=sent), row.spec.filters)


def test_a_missed_call_is_played_and_each_request_is_seen_to_leave(site: Site, anna: Page, receiver: Receiver) -> None:
    to_receiver(site, receiver)
    anna.goto(f"{site.url}/projects/{site.project}/webhooks")
    anna.get_by_role("link", name="Simulate a call").click()
    anna.get_by_label("Missed call").check()
    anna.get_by_label("Number of the outside party").fill("+380501112233")
    anna.get_by_role("button", name="Play the call").click()
    assert not receiver.requests
    anna.get_by_role("button", name="Send 2 requests").click()
    expect(anna.locator(".played-answer", has_text="The receiver answered 200")).to_have_count(2)
    bodies = [json.loads(request.body) for request in receiver.wait_for(2)]
    assert bodies == [{"phone": "+380501112233", "how": "NO ANSWER"}] * 2
    assert {request.header("webhook-test") for request in receiver.requests} == {"1"}


def test_an_answered_call_shows_which_condition_keeps_a_webhook_back(
    site: Site, anna: Page, receiver: Receiver
) -> None:
    to_receiver(site, receiver)
    anna.goto(f"{site.url}/projects/{site.project}/simulate?kind=answered")
    expect(anna.locator(".played-request", has_text="Missed call → chat")).to_contain_text("a condition does not hold")
    expect(anna.locator(".played-request", has_text="Missed call → chat")).to_contain_text("is_missed")
    expect(anna.get_by_role("button", name="Send 1 request")).to_be_visible()


def test_a_real_call_is_tried_on_the_webhooks_as_they_are_now(site: Site, anna: Page, receiver: Receiver) -> None:
    ring(site, "1700000000.9", caller="+380931112233")
    to_receiver(site, receiver)
    anna.goto(f"{site.url}/projects/{site.project}/calls?number=0931112233")
    anna.locator("table .row-link").first.click()
    anna.get_by_role("link", name="Try it on the webhooks").click()
    anna.get_by_role("button", name="Send", exact=True).first.click()
    expect(anna.locator(".played-answer").first).to_contain_text("The receiver answered 200")
    assert json.loads(receiver.wait_for(1)[0].body)["phone"] == "+380931112233"


def test_a_viewer_reads_on_one_page_how_a_webhook_is_and_since_when_not(
    site: Site, open_page: Callable[..., Page]
) -> None:
    with site.database.write() as session:
        session.execute(update(Membership).values(role="viewer"))
    page = sign_in(open_page(), site)
    page.goto(f"{site.url}/projects/{site.project}/webhooks")
    page.get_by_role("link", name="Warehouse (old)").click()
    expect(page.locator("#webhook")).to_contain_text("Failing since")
    expect(page.locator("#webhook")).to_contain_text("It has never succeeded")
    expect(page.locator("#webhook")).to_contain_text("Nothing accepts connections")
    expect(page.get_by_role("link", name="Edit and test")).to_have_count(0)
    expect(page.locator("#webhook .lines tbody tr")).to_have_count(20)
    page.goto(f"{site.url}/projects/{site.project}/webhooks/3")
    expect(page.locator("#webhook")).to_contain_text("It works.")


def test_a_webhook_is_switched_off_on_its_page(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/3")
    anna.get_by_role("switch", name="Switched on").click()
    anna.wait_for_url("**/webhooks/3")
    expect(anna.locator("#webhook")).to_contain_text("It is switched off now.")
