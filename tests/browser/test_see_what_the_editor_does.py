"""What a user types into the editor stays, and what is wrong with it is said where it was typed."""

import json

from playwright.sync_api import Page, expect

from pbxhub.testing.receivers.receiver import Receiver, Reply
from tests.support.site import Site, receiving


def edit(site: Site, page: Page) -> Page:
    page.goto(f"{site.url}/projects/{site.project}/webhooks/2/edit")
    expect(page.locator("#preview")).to_contain_text("ready to be saved")
    return page


def test_a_status_or_a_delay_that_is_no_number_is_refused_at_its_field(site: Site, anna: Page) -> None:
    edit(site, anna)
    statuses = anna.locator("[data-path='success.statuses']")
    statuses.locator("input").fill("2xx, 200")
    expect(statuses.locator(".field-error")).to_contain_text("give")
    statuses.locator("input").fill("200; 201")
    expect(statuses.locator(".field-error")).to_have_count(0)
    anna.locator("[data-path='retry.profile'] select").select_option("own")
    delays = anna.locator("[data-path='retry.delays']")
    delays.locator("input").fill("10, 60; 5m")
    expect(delays.locator(".field-error")).to_contain_text("give")
    anna.locator("#save").click()
    expect(anna.locator(".toast-note.bad")).to_contain_text("Not saved")
    expect(delays.locator("input")).to_have_value("10, 60; 5m")


def test_a_rule_for_the_body_of_some_answers_is_kept(site: Site, anna: Page) -> None:
    edit(site, anna)
    anna.locator("[data-path='success.body'] select").select_option("json_equals")
    anna.locator("[data-path='success.body.path'] input").fill("errors[0].status")
    anna.locator("[data-path='success.body.value'] input").fill("263")
    statuses = anna.locator("[data-path='success.body.statuses']")
    statuses.locator("input").fill("40")
    expect(statuses.locator(".field-error")).to_contain_text("from 200 to 599")
    statuses.locator("input").fill("400, 409")
    expect(statuses.locator(".field-error")).to_have_count(0)
    anna.locator("#save").click()
    anna.wait_for_url("**/webhooks")
    edit(site, anna)
    expect(anna.locator("[data-path='success.body.statuses'] input")).to_have_value("400, 409")


def test_an_unknown_name_in_a_new_row_is_marked_there(site: Site, anna: Page) -> None:
    edit(site, anna)
    anna.get_by_role("button", name="Add a parameter").click()
    row = anna.locator(".tree > .tree-list > .tree-item").last
    row.locator(".tree-name").fill("phone2")
    row.locator(".tree-value").fill("<<calller>>")
    expect(row.locator(".field-error")).to_contain_text("did you mean caller?")


def test_a_preset_adds_its_conditions_to_those_there_are(site: Site, anna: Page) -> None:
    edit(site, anna)
    anna.get_by_role("button", name="Add a condition").click()
    anna.get_by_role("button", name="missed call").click()
    expect(anna.locator("[data-path='filters[0]']")).to_be_visible()
    expect(anna.locator("[data-path='filters[1]']")).to_be_visible()


def test_a_call_can_be_missed_only_if_it_comes_in(site: Site, anna: Page) -> None:
    edit(site, anna)
    missed = anna.get_by_role("button", name="missed call")
    expect(missed).to_be_visible()
    anna.locator("[data-path=stage] select").select_option("outgoing.after")
    expect(missed).to_have_count(0)
    expect(anna.get_by_role("button", name="nobody answered")).to_be_visible()


def test_what_saving_would_refuse_is_said_before(site: Site, anna: Page) -> None:
    edit(site, anna)
    anna.locator("[data-path=name] input").fill("Missed call → chat")
    expect(anna.locator("#preview")).to_contain_text("It cannot be saved yet")
    expect(anna.locator("[data-path=name]")).to_contain_text("Another event of this project has this name")


def test_a_copy_differs_from_its_source_only_in_what_was_changed(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/copy?stage=incoming.after")
    expect(anna.locator(".compared")).to_contain_text("Difference from")
    expect(anna.locator(".compared .change")).to_have_count(1)
    expect(anna.locator(".compared .change")).to_contain_text("name")


def test_saved_and_tested_in_one_press_and_switched_off_in_the_bar(site: Site, anna: Page, receiver: Receiver) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/new")
    anna.locator("[data-path=name] input").fill("Both at once")
    anna.locator("[data-path=url] input").fill(f"{receiver.url}/both")
    anna.get_by_role("switch", name="Switched on").uncheck()
    anna.get_by_role("button", name="Save and test").click()
    expect(anna.locator("#tried")).to_contain_text("The receiver answered 200")
    assert receiver.wait_for(1)[0].path == "/both"
    assert json.loads(anna.locator("#data").text_content() or "")["enabled"] is False
    expect(anna.locator("#save-state")).to_have_text("Saved.")


def test_the_simulator_of_answers_uses_the_form_beside_it(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/call-control/new")
    anna.get_by_label("The answer contains").select_option("number")
    anna.get_by_label("Name in response for destination").fill("to")
    anna.get_by_label("Numbers it may call").fill("_1XX")
    anna.get_by_label("Answer", exact=True).fill('{"to": "105"}')
    anna.get_by_role("button", name="Show the steps").click()
    expect(anna.locator("#simulated")).to_contain_text("105")
    anna.get_by_label("Numbers it may call").fill("_2XX")
    anna.get_by_role("button", name="Show the steps").click()
    expect(anna.locator("#simulated")).to_contain_text("The call takes the default route")


def test_the_own_system_is_asked_for_a_real_call(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/call-control/new")
    anna.get_by_label("Name in response for destination").fill("to")
    anna.get_by_label("Numbers it may call").fill("_1XX")
    anna.locator("#default").fill("199")
    calls = anna.get_by_label("For which call")
    expect(calls.locator("optgroup").first).to_have_attribute("label", "Calls of this project")
    with receiving(lambda _asked: Reply(body=b'{"to": "105"}')) as receiver:
        anna.get_by_label("URL").fill(f"{receiver.url}/where")
        anna.get_by_role("button", name="Ask now").click()
        expect(anna.locator("#asked .story")).to_contain_text("dial 105 for 30 s")
        expect(anna.locator("#asked .timing-legend")).to_contain_text("total")
        expect(anna.locator("#asked .request-line")).to_contain_text("/where")
        assert receiver.wait_for(1)[0].header("webhook-test") == "1"
        anna.get_by_label("Numbers it may call").fill("_19X")
        calls.select_option(label="Sample: missed call")
        anna.get_by_role("button", name="Ask now").click()
        expect(anna.locator("#asked .alert")).to_contain_text("105 is not among the numbers")
        expect(anna.locator("#asked .alert")).to_contain_text("it goes to 199")


def test_stages_are_chosen_in_groups_and_say_when_they_happen(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/edit")
    stages = anna.get_by_label("Stage", exact=True)
    expect(stages.locator("optgroup").first).to_have_attribute("label", "Incoming calls")
    expect(stages).to_have_accessible_description(
        "The call is over: how it ended, how long it took and who spoke are known."
    )
    stages.select_option("call.voicemail")
    expect(anna.get_by_text("The call was sent to voicemail.")).to_be_visible()
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/copy")
    expect(anna.get_by_role("group", name="Outgoing calls").get_by_role("radio")).to_have_count(3)
    expect(anna.get_by_role("group", name="Outgoing calls")).to_contain_text("The other side has answered.")


def test_placeholders_are_coloured_where_they_stand_and_areas_grow(site: Site, anna: Page) -> None:
    edit(site, anna)
    value = anna.locator(".tree-value").first
    value.fill("Call of <<caller|e164>> to <<nobody>>")
    copy = value.locator("xpath=../span[contains(@class, 'chips')]")
    expect(copy.locator(".chip-known")).to_have_text("<<caller|e164>>")
    expect(copy.locator(".chip-unknown")).to_have_text("<<nobody>>")
    assert copy.evaluate("(one) => getComputedStyle(one).font") == value.evaluate("(one) => getComputedStyle(one).font")
    anna.get_by_label("Format", exact=True).select_option("raw")
    area, height = anna.locator(".code-area").first, "(field) => field.offsetHeight"
    area.fill("<<caller>>")
    low = area.evaluate(height)
    area.fill("and more\n" * 15)
    assert area.evaluate(height) > low * 2
