"""A user edits, copies and orders webhooks in a browser."""

from collections.abc import Callable
from datetime import UTC, datetime

from playwright.sync_api import Page, expect
from sqlalchemy import delete

from pbxhub.store.sign_in_rows import SignIn
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.receivers import misbehaving as zoo
from pbxhub.testing.receivers.bad_tls import new_authority
from pbxhub.testing.receivers.misbehaving import Cage
from pbxhub.testing.receivers.receiver import Receiver
from pbxhub.webhooks.spec import Filter
from tests.support.site import Site, ring, sign_in


def test_an_unknown_name_is_marked_at_once_with_the_nearest_one(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/edit")
    anna.locator(".tree-value").first.fill("<<calller>>")
    row = anna.locator(".tree-item").first
    expect(row).to_contain_text("did you mean caller?")
    anna.locator(".tree-value").first.fill("<<caller>>")
    expect(row).not_to_contain_text("did you mean")


def test_the_names_offered_in_a_field_stay_however_lately_another_one_was_left(site: Site, anna: Page) -> None:
    anna.clock.install()
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/edit")
    anna.clock.pause_at(datetime(2100, 1, 1, tzinfo=UTC))  # no timer ends before what follows is done
    value = anna.locator(".tree-value").first
    anna.locator(".tree-name").first.click()
    value.click()
    value.fill("")
    anna.keyboard.type("<<caller")
    anna.clock.run_for(1000)
    expect(anna.locator("#completion li").first).to_contain_text("caller")
    anna.keyboard.press("Enter")
    expect(value).to_have_value("<<caller>>")
    anna.keyboard.type("<<did")
    anna.locator(".tree-name").first.click()
    anna.clock.run_for(1000)
    expect(anna.locator("#completion")).to_be_hidden()


def test_a_copy_for_another_event_keeps_the_request_and_names_what_is_missing(
    site: Site, anna: Page, receiver: Receiver
) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks")
    anna.get_by_label("More for Calls to the CRM").click()
    anna.get_by_role("link", name="Copy").first.click()
    choice = anna.locator("label.choice", has_text="Incoming · before the call")
    expect(choice).to_contain_text("<<billsec>>")
    anna.get_by_label("Incoming · forwarded").check()
    anna.get_by_role("button", name="Next").click()
    expect(anna.locator("[data-path=name] input")).to_have_value("Calls to the CRM (copy)")
    anna.locator("[data-path=stage] select").select_option("incoming.after")
    anna.locator("[data-path=url] input").fill(f"{receiver.url}/copy")
    anna.locator("#save").click()
    expect(anna.locator("[data-path='auth.secret']")).to_contain_text("Enter the secret again")
    anna.locator("[data-path='auth.secret'] input").fill("an0ther")
    anna.locator("#save").click()
    expect(anna.get_by_role("link", name="Calls to the CRM (copy)")).to_be_visible()
    ring(site, "1700000000.2")
    [request] = receiver.wait_for(1)
    assert request.header("X-Source") == "pbx"
    assert request.header("Authorization") == "Bearer an0ther"


def test_a_form_with_files_is_set_up_and_previewed(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/edit")
    anna.locator("[data-path=format] select").select_option("multipart")
    names, types = anna.locator(".tree-name"), anna.locator(".tree-type")
    for name, kind in (("audio", "recording"), ("logo", "file")):
        anna.get_by_role("button", name="Add a parameter").click()
        names.last.fill(name)
        types.last.select_option(kind)
    expect(anna.locator("[data-path=file]")).to_contain_text("choose a file")
    logo = {"name": "logo.png", "mimeType": "image/png", "buffer": b"\x89PNG\xff\x00"}
    anna.locator("[data-path=file] input[type=file]").set_input_files([logo])  # type: ignore[list-item]
    expect(anna.locator("[data-path=file]")).to_contain_text("logo.png")
    expect(anna.locator("#preview, .preview").first).to_contain_text("(file: logo.png, 6 bytes)")
    anna.locator("#save").click()
    anna.wait_for_url("**/webhooks")
    with site.database.read() as session:
        request = session.get_one(Webhook, 2).spec.request
        assert (request.format, request.file, request.file_name) == ("multipart", b"\x89PNG\xff\x00", "logo.png")
        assert [one.type for one in request.parameters[-2:]] == ["recording", "file"]


def test_conditions_are_grouped_and_limited_to_hours(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/edit")
    anna.get_by_role("button", name="Add a group").first.click()
    group = anna.locator(".filter-group")
    expect(group.locator(".line.spot select").first).to_have_value("any")
    first, second = group.get_by_label("Parameter").nth(0), group.get_by_label("Parameter").nth(1)
    first.fill("caller")
    group.get_by_label("Comparison").nth(0).select_option("matches")
    group.get_by_label("Value", exact=True).nth(0).fill("^[+]38(050")
    expect(group).to_contain_text("is not a regular expression")
    group.get_by_label("Value", exact=True).nth(0).fill("^[+]38050")
    expect(group).not_to_contain_text("is not a regular expression")
    second.fill("calldate")
    second.press("Tab")
    group.get_by_label("Comparison").nth(1).select_option("on_days")
    group.get_by_label("Sat").check()
    group.get_by_label("holidays").check()
    anna.get_by_role("button", name="outside working hours").click()
    expect(anna.locator("[data-path='filters[1]'] + .spot-errors")).to_contain_text("no working hours yet")
    anna.locator("#save").click()
    anna.wait_for_url("**/webhooks")
    with site.database.read() as session:
        webhook = session.get(Webhook, 2)
        assert webhook.spec.filters[-2:] == (
            Filter("", "any", filters=(
                Filter("caller", "matches", "^[+]38050"),
                Filter("calldate", "on_days", values=("sat", "holiday")),
            )),
            Filter("calldate", "not_working_time"),
        )  # fmt: skip
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2")
    expect(anna.locator("#webhook")).to_contain_text("any of these")
    expect(anna.locator("#webhook")).to_contain_text("Sat, holidays")


def test_google_analytics_is_locked_but_can_be_set_up_and_copied(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks")
    row = anna.locator("tbody tr").first
    expect(row).to_contain_text("Google Analytics")
    row.get_by_role("button", name="More for").or_(row.locator("summary")).first.click()
    expect(row.get_by_role("link", name="Copy")).to_be_visible()
    expect(row.get_by_role("button", name="Delete")).to_have_count(0)
    assert anna.goto(f"{site.url}/projects/{site.project}/webhooks/1/edit").status == 403
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/1/setup")
    anna.get_by_label("Measurement id").fill("G-ABC123DEF4")
    anna.get_by_label("API secret").fill("secret")
    anna.get_by_role("button", name="Save and switch on").click()
    expect(anna.get_by_label("After call → Google Analytics is on")).to_be_checked()


def test_two_editors_at_once_overwrite_nothing_silently(site: Site, anna: Page, open_page: Callable[..., Page]) -> None:
    second = sign_in(open_page(), site)
    for page, name in ((anna, "First"), (second, "Second")):
        page.goto(f"{site.url}/projects/{site.project}/webhooks/2/edit")
        page.locator("[data-path=name] input").fill(name)
    anna.locator("#save").click()
    expect(anna.get_by_role("link", name="First")).to_be_visible()
    second.locator("#save").click()
    expect(second.locator("#conflict")).to_contain_text("saved this event while you were editing it")
    expect(second.locator("#conflict")).to_contain_text("First")
    second.get_by_role("button", name="Save mine over theirs").click()
    expect(second.get_by_role("link", name="Second")).to_be_visible()


def test_the_editor_waits_until_its_user_is_signed_in_again(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/edit")
    with site.database.write() as session:
        session.execute(delete(SignIn))
    anna.locator("[data-path=name] input").fill("Typed before")
    expect(anna.locator("#preview")).to_contain_text("You are no longer signed in")
    anna.locator("#save").click()
    dialog = anna.get_by_role("dialog", name="You are no longer signed in")
    with anna.expect_popup() as beside:
        dialog.get_by_role("link", name="Sign in").click()
    sign_in(beside.value, site)
    beside.value.close()
    expect(dialog).to_be_hidden()
    anna.locator("#save").click()
    expect(anna.get_by_role("link", name="Typed before")).to_be_visible()


def test_the_order_is_changed_with_the_keyboard(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks")
    anna.get_by_role("button", name="Move Calls to the CRM").focus()
    with anna.expect_response("**/order"):
        anna.keyboard.press("ArrowDown")
    anna.reload()
    expect(anna.locator("tbody tr").nth(1)).to_contain_text("Missed call → chat")
    expect(anna.locator("tbody tr").nth(2)).to_contain_text("Calls to the CRM")


def test_a_whole_event_is_added_without_a_mouse(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/new")
    anna.locator("[data-path=name] input").focus()
    anna.keyboard.type("By keyboard")
    while anna.evaluate("document.activeElement.inputMode") != "url":
        anna.keyboard.press("Tab")
    anna.keyboard.type("https://example.com/hook")
    anna.keyboard.press("Control+s")
    expect(anna.get_by_role("link", name="By keyboard")).to_be_visible()


def test_an_earlier_revision_is_restored(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/edit")
    for name in ("One", "Two"):
        anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/edit")
        anna.locator("[data-path=name] input").fill(name)
        anna.locator("#save").click()
        expect(anna.get_by_role("link", name=name)).to_be_visible()
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/history")
    anna.get_by_role("button", name="Restore").click()
    expect(anna.locator("tbody tr").first).to_contain_text("One")


def test_parameters_are_dragged_into_an_object_out_of_it_and_to_the_end(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/edit")

    def drag(grabbed: str, onto: str, height: float) -> None:
        row = anna.locator(f'.tree-row[data-path="{onto}"]')
        box = row.bounding_box()
        assert box
        anna.locator(f'.tree-row[data-path="{grabbed}"] .grip').drag_to(
            row, target_position={"x": box["width"] / 3, "y": box["height"] * height}
        )

    drag("parameters.talk", "parameters.contact", 0.5)
    expect(anna.locator('.tree-row[data-path="parameters.contact.talk"]')).to_be_visible()
    drag("parameters.contact.talk", "parameters.check", 0.9)
    expect(anna.locator(".tree > .tree-list > .tree-item").last.locator(".tree-name")).to_have_value("talk")
    drag("parameters.talk", "parameters.contact", 0.2)
    expect(anna.locator(".tree > .tree-list > .tree-item").nth(1).locator(".tree-name").first).to_have_value("talk")


def test_a_parameter_without_a_value_at_the_chosen_event_is_marked_where_it_stands(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2/copy?stage=incoming.before")
    row = anna.locator(".tree-item", has=anna.locator('[data-path="parameters.talk"]')).last
    expect(row.locator(".field-warning")).to_contain_text("billsec")
    expect(anna.locator("#preview")).to_contain_text("Difference from Calls to the CRM")


def test_a_receiver_that_wants_a_certificate_is_set_up_and_the_key_is_never_shown(site: Site, anna: Page) -> None:
    authority = new_authority()
    certificate, key = authority.client()
    edit = f"{site.url}/projects/{site.project}/webhooks/2/edit"
    with Cage(zoo.says(zoo.OK), authority.strict_server()) as cage:
        anna.goto(edit)
        anna.locator("[data-path=url] input").fill(cage.url)
        anna.locator("[data-path='auth.kind'] select").select_option("none")
        anna.get_by_text("Certificates", exact=True).click()
        anna.locator("[data-path=tls_ca] textarea").fill(authority.pem)
        anna.locator("[data-path=tls_certificate] textarea").fill(certificate)
        expect(anna.locator("[data-path=tls_key]")).to_contain_text("Enter the private key of the certificate")
        anna.locator("[data-path=tls_key] textarea").fill(authority.client()[1])
        expect(anna.locator("[data-path=tls_key]")).to_contain_text("does not match the certificate")
        anna.locator("[data-path=tls_key] textarea").fill(key)
        anna.locator("#send-test").click()
        expect(anna.locator("#tried")).to_contain_text("answered 200")
        anna.locator("#save").click()
        anna.wait_for_url("**/webhooks")
        anna.goto(edit)
        expect(anna.locator("[data-path=tls_certificate] textarea")).to_have_value(certificate)
        expect(anna.locator("[data-path=tls_key] textarea")).to_have_value("")
        assert key.splitlines()[1] not in anna.content()
        anna.locator("#send-test").click()
        expect(anna.locator("#tried")).to_contain_text("answered 200")
        anna.get_by_role("button", name="Remove certificate and key").click()
        expect(anna.locator("[data-path=tls_certificate] textarea")).to_have_value("")
        anna.locator("#save").click()
        anna.wait_for_url("**/webhooks")
        anna.goto(edit)
        expect(anna.get_by_role("button", name="Remove certificate and key")).to_have_count(0)
