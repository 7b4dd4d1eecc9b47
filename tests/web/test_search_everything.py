"""A viewer types whatever they know into one search: a number, a name, a label, an id."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from urllib.parse import unquote
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from pbxhub.account.search import MOST
from pbxhub.store.accounts import Employee, Number, Pbx
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.phones import person_of
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People


def call(project: int, pbx: int, caller: str, **more: str) -> Call:
    return Call(**{"id": new_id(), "project_id": project, "pbx_id": pbx, "linkedid": str(new_id()), "caller": caller,
                   "direction": "incoming", "person": person_of(caller, "UA"), "dst": "380441234567",
                   "extension": "101", "started_on": now(), "ended_on": now(), **more})  # fmt: skip


@pytest.fixture
def ids(database: Database, people: People) -> dict[str, UUID]:
    project = people.project
    with database.write() as session:
        pbx = Pbx(project_id=project, name="Головний офіс", host="192.0.2.7", username="u", secret_sealed="",
                  created_on=now())  # fmt: skip
        hook = Webhook(project_id=project, name="Leads 50%", stage="incoming.after", created_on=now(),
                       spec=WebhookSpec(RequestSpec(url="https://crm.example.com/")))  # fmt: skip
        session.add_all([pbx, hook])
        session.flush()
        ours = call(project, pbx.id, "+380675298953", caller_name="Софія")
        session.add_all([ours, Number(project_id=project, pbx_id=pbx.id, did="380441234567", label="Google Ads")])
        session.add_all(Employee(project_id=project, extension=str(100 + n), name=f"Олена {n}") for n in range(1, 9))
        session.add(Employee(project_id=people.other, extension="101", name="Олена чужа"))
        session.flush()
        sent = Delivery(id=new_id(), project_id=project, webhook_id=hook.id, webhook_revision=1, state="delivered",
                        lane=1, due_at=now(), method="GET", url="https://crm.example.com/", headers=[], body=b"",
                        created_on=now())  # fmt: skip
        session.add(sent)
        session.flush()
        return {"call": ours.id, "delivery": sent.id}


@pytest.fixture
def find(people: People, ids: dict[str, UUID], signed_in: Callable[[str], Browser]) -> Callable[[str], list[str]]:
    """The hits of a text, as a viewer sees them."""
    viewer = signed_in("viewer")

    def found(text: str) -> list[str]:
        page = viewer.get(f"/projects/{people.project}/search", query_string={"q": text}, headers={"HX-Request": "1"})
        assert page.status_code == 200
        hits = re.findall(r'<a class="finder-hit".*?</a>', page.text, re.DOTALL)
        return [" ".join(unescape(re.sub("<[^>]*>", " ", hit)).split()) for hit in hits]

    return found


@pytest.mark.parametrize("text", ["0675298953", "+38 (067) 529-89-53", "5298953", "софія", "Соф"])
def test_a_call_is_found_by_its_number_however_written_or_by_the_name_of_the_caller(
    find: Callable[[str], list[str]], text: str
) -> None:
    assert find(text)[0].startswith("+380675298953 · Софія Олена 1")


@pytest.mark.parametrize(
    ("text", "first"),
    [("ads", "Google Ads 380441234567"), ("044 123-45-67", "Google Ads 380441234567"), ("leads 50%", "Leads 50% "),
     ("192.0.2.7", "Головний офіс 192.0.2.7"), ("ГОЛОВНИЙ", "Головний офіс"), ("олена 7", "Олена 7 107")],
)  # fmt: skip
def test_names_labels_and_addresses_are_found_by_any_part(
    find: Callable[[str], list[str]], text: str, first: str
) -> None:
    assert any(hit.startswith(first) for hit in find(text)), find(text)


def test_an_id_leads_to_its_call_or_delivery(find: Callable[[str], list[str]], ids: dict[str, UUID]) -> None:
    assert len(find(str(ids["call"]))) == 1
    assert find(ids["delivery"].hex)[0].startswith(str(ids["delivery"]))


def test_a_kind_shows_few_and_nothing_of_other_projects(find: Callable[[str], list[str]]) -> None:
    assert len(find("олена")) == MOST
    assert find("чужа") == []


@pytest.mark.parametrize("text", ["", " ", "%", "_", "'", "«»", "1" * 500, "\N{ARABIC-INDIC DIGIT FIVE}"])
def test_odd_texts_find_nothing_and_break_nothing(find: Callable[[str], list[str]], text: str) -> None:
    assert [hit for hit in find(text) if "50%" not in hit] == []


def test_a_stranger_finds_no_search(people: People, signed_in: Callable[[str], Browser]) -> None:
    assert signed_in("stranger").get(f"/projects/{people.project}/search?q=1").status_code == 404


def test_a_time_after_a_number_leads_to_the_calls_of_that_time(
    database: Database, find: Callable[[str], list[str]], ids: dict[str, UUID]
) -> None:
    with database.read() as session:
        day = session.get_one(Call, ids["call"]).started_on.astimezone(ZoneInfo("Europe/Kyiv")).date()
    link, call = find(f"067 529 89 53 {day}")[:2]
    assert link.startswith("Calls of “067 529 89 53” ")
    assert not link.endswith("none")
    assert call.startswith("+380675298953 · Софія")
    assert [hit.endswith("· none") for hit in find(f"0675298953 {day - timedelta(days=3)}")] == [True]
    assert find(f"missed {day}")[0].startswith("Missed calls ")
    for hours in (24, 30):  # at any time of the day, both days are named
        assert " – " in find(f"0675298953 last {hours} hours")[0]
    before, known = find(f"0675298953 before {day + timedelta(days=1)}")[:2]
    assert before == f"Calls of “0675298953” up to and including {day:%a, %b} {day.day}, {day.year}"
    assert known == call


def test_a_time_after_a_name_is_kept_in_the_link_to_the_calls_of_that_person(
    people: People, ids: dict[str, UUID], signed_in: Callable[[str], Browser]
) -> None:
    place = f"/projects/{people.project}/search"
    page = signed_in("viewer").get(place, query_string={"q": "олена 7 28.11.2025 between 10 and 12"})
    wanted = f"/projects/{people.project}/calls?number=107&from=2025-11-28T10:00&to=2025-11-28T12:00"
    assert wanted in unescape(unquote(page.text))
    page = signed_in("viewer").get(place, query_string={"q": "олена 7 before 28.11.2025"})
    assert f"/projects/{people.project}/calls?number=107&to=2025-11-28T00:00" in unescape(unquote(page.text))
