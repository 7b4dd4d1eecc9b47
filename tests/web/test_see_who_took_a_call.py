"""A viewer sees on the page Calls and on the card who took a call, on which phone, and what Asterisk reported of it."""

import html
import re
import zlib
from collections.abc import Callable

import pytest
from sqlalchemy import update

from pbxhub.store.accounts import Employee, Number, Pbx
from pbxhub.store.history import Call, CallEvents
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.testing.pbx.recordings import FOLDER
from pbxhub.wsgi.current import now
from tests.support.made_failures import Failures
from tests.support.people import Browser, People


def add_call(database: Database, people: People, ended: bool = True) -> str:
    """A call to 101 whose events are those of a recording; the path of its card."""
    text = (FOLDER / "answered.ami").read_text()
    linkedid = text.partition("Linkedid: ")[2].partition("\n")[0]
    with database.write() as session:
        pbx = Pbx(project_id=people.project, name="Office", host="h", username="u", secret_sealed="", created_on=now())
        session.add_all([pbx, Employee(project_id=people.project, extension="101", name="Anna Melnyk")])
        session.flush()
        call = Call(id=new_id(), project_id=people.project, pbx_id=pbx.id, linkedid=linkedid, direction="incoming",
                    caller="79161234567", dst="5550201", extension="101", started_on=now(),
                    ended_on=now() if ended else None, data={"dst_channel": "PJSIP/anna2-0000002a"})  # fmt: skip
        session.add(call)
        secret = text.replace("Linkedid: ", "ChanVariable: CRM_TOKEN=hushhush\nLinkedid: ", 1)
        session.add(CallEvents(id=new_id(), pbx_id=pbx.id, linkedid=linkedid, recorded=zlib.compress(secret.encode())))
        return f"/projects/{people.project}/calls/{call.id}"


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_the_list_and_the_card_name_the_employee_and_the_phone(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    path, viewer = add_call(database, people), signed_in("viewer")
    assert "Anna Melnyk 101" in words(viewer.get(path.rpartition("/")[0]).text)
    card = words(viewer.get(path).text)
    assert "Employee Anna Melnyk 101 Phone PJSIP/anna2 " in card
    assert signed_in("stranger").get(path).status_code == 404


def test_a_call_that_goes_on_names_the_employee(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    path, viewer = add_call(database, people, ended=False), signed_in("viewer")
    for page in (path.rpartition("/")[0], f"{path.rpartition('/')[0]}/live"):
        assert "Anna Melnyk (101)" in words(viewer.get(page).text)


@pytest.mark.slow
def test_the_events_of_a_call_are_shown_with_the_stages_they_led_to(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    path, viewer = add_call(database, people), signed_in("viewer")
    assert f'href="{path}/events"' in viewer.get(path).text
    page = viewer.get(f"{path}/events").text
    found = re.findall(r"Incoming · (before the call|forwarded|picked up|after the call)", words(page))
    assert found == ["before the call", "forwarded", "picked up", "after the call"]
    file = viewer.get(f"{path}/events.ami")
    assert file.headers["Content-Disposition"].startswith("attachment; filename=")
    assert file.text.count("#T ") == page.count("<details")
    for address in (f"{path}/events", f"{path}/events.ami"):
        assert "hushhush" not in viewer.get(address).text
        assert "hushhush" in signed_in("editor").get(address).text
        assert signed_in("stranger").get(address).status_code == 404


def test_lists_of_deliveries_name_both_sides_of_a_call(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    """Our employee by the card, the caller by what the telephone network said, the number by its label."""
    made = Failures(database, people.project)
    made.add(now(), "answered", "missed", "nameless", "internal")
    told = {
        "answered": {"caller_name": "Iryna Koval", "extension": "101"},
        "missed": {"caller_name": "Taras Bondar", "dst": "380441110000"},
        "nameless": {"caller": "+380671234567", "dst": "380449998877"},
        "internal": {"caller": "101", "dst": "102", "direction": "internal"},
    }
    with database.write() as session:
        session.add(Employee(project_id=people.project, extension="101", name="Anna Melnyk"))
        session.add(Number(project_id=people.project, pbx_id=made.pbx, did="380441110000", label="Shop"))
        for linkedid, values in told.items():
            session.execute(update(Call).where(Call.linkedid == linkedid).values(**values))
    viewer, root = signed_in("viewer"), f"/projects/{people.project}"
    for page in ("deliveries", "errors", f"webhooks/{made.webhook}"):
        text = words(viewer.get(f"{root}/{page}").text)
        for said in ("Iryna Koval Anna Melnyk", "Taras Bondar Shop", "+380671234567 380449998877", "Anna Melnyk 102"):
            assert said in text, (page, said)
    assert "Call Iryna Koval Anna Melnyk" in words(viewer.get(f"{root}/deliveries/{made.ids['answered']}").text)
