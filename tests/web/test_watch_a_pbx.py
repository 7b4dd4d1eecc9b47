"""A member looks at a PBX: how it stands, why it does not work and what to do, and the line that lets the hub in."""

import html
import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from pbxhub.store.accounts import Pbx, Project
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.pbx_state_sentences import REASONS
from pbxhub.store.session import Database
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People


def add(database: Database, people: People, **changes: object) -> str:
    """A PBX as the listener has seen it; the path of its page."""
    values = {
        "name": "Office", "host": "pbx.example.com", "username": "hub", "secret_sealed": "", "created_on": now(),
        "state_since": now() - timedelta(minutes=12), "seen_on": now(), **changes,
    }  # fmt: skip
    with database.write() as session:
        pbx = Pbx(project_id=people.project, **values)
        session.add(pbx)
        session.flush()
        return f"/projects/{people.project}/pbxs/{pbx.id}"


def words(page: str) -> str:
    """What a reader sees."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_a_connected_pbx_shows_its_pace_and_its_calls(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    path = add(database, people, state="connected", events_last_minute=90, last_event_on=now())
    with database.write() as session:
        for number, ended in enumerate((None, None, now())):
            session.add(Call(id=new_id(), project_id=people.project, pbx_id=int(path.rsplit("/", 1)[1]),
                             linkedid=f"1.{number}", direction="incoming", caller="1", dst="2", started_on=now(),
                             ended_on=ended))  # fmt: skip
    viewer = signed_in("viewer")
    for address in (path, f"{path}/state"):
        text = words(viewer.get(address).text)
        assert "Calls now 2" in text
        assert "Events, last minute 1.5 per second" in text
        assert "What to do" not in text


@pytest.mark.parametrize(
    ("state", "code", "title"),
    [
        ("refused", "login_failed", "The hub cannot log in to this PBX"),
        ("refused", "connection_refused", "The hub cannot log in to this PBX"),
        ("refused", "tls_mismatch", "The hub cannot log in to this PBX"),
        ("lost", "silent", "The connection to this PBX is down"),
        ("connected", "filter_denied", "Connected, with a problem"),
    ],
)
def test_a_pbx_that_does_not_work_says_why_since_when_and_what_to_do(
    database: Database, people: People, signed_in: Callable[[str], Browser], state: str, code: str, title: str
) -> None:
    path = add(database, people, state=state, state_code=code, state_detail="the detail")
    text = words(signed_in("viewer").get(path).text)
    why = REASONS[code].why % {"detail": "the detail"}
    assert f"{title} {why} Since" in text
    assert "12 minutes ago" in text
    assert f"What to do {REASONS[code].advice}" in text


def test_a_listener_that_shows_no_life_is_named(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    """A hub that was killed leaves "connected" on the row."""
    path = add(database, people, state="connected", events_last_minute=90, seen_on=now() - timedelta(minutes=5))
    viewer = signed_in("viewer")
    text = words(viewer.get(path).text)
    assert "Nobody listens to this PBX" in text
    assert "pbxhub listen" in text
    assert "per second" not in text
    assert "nobody listens" in words(viewer.get(path.rsplit("/", 1)[0]).text)


def test_a_pbx_that_is_switched_off_is_no_trouble(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    path = add(database, people, state="lost", state_code="stopped", enabled=False, seen_on=now() - timedelta(days=5))
    text = words(signed_in("viewer").get(path).text)
    assert "switched off" in text
    assert "What to do" not in text


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"hub_address": "192.0.2.7"}, "permit = 192.0.2.7/255.255.255.255"),
        ({"hub_address": "2001:db8::7"}, "permit = 2001:db8::7/128"),
        ({"host": "127.0.0.1"}, "permit = 127.0.0.1/255.255.255.255"),  # not tried yet: this process's own route
    ],
)
def test_manager_conf_lets_in_the_address_that_the_hub_connects_from(
    database: Database, people: People, signed_in: Callable[[str], Browser], changes: dict[str, str], line: str
) -> None:
    path = add(database, people, state="connected", **changes)
    viewer = signed_in("viewer")
    (snippet,) = re.findall(r'<pre class="code" id="snippet"[^>]*>(.*?)</pre>', viewer.get(path).text, re.DOTALL)
    assert html.unescape(re.sub(r"<[^>]*>", "", snippet)).splitlines() == [
        "#include pbxhub/manager.conf", "[hub](pbxhub-rights)", "secret = (the secret you entered)", line,
    ]  # fmt: skip
    assert line in words(viewer.get(f"{path}/state").text)


def test_an_unknown_address_is_said_and_never_guessed(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    text = words(signed_in("viewer").get(add(database, people)).text)
    assert "; permit = (the address of this hub)/255.255.255.255" in text
    assert "is not known yet" in text


def test_the_page_after_connecting_has_the_line_too(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    with database.write() as session:
        session.get_one(Project, people.project).pbx_networks = ["127.0.0.0/8"]
    owner = signed_in("owner")
    path = f"/projects/{people.project}/pbxs/new"
    owner.get(path)
    made = owner.post(path, {"name": "New", "host": "127.0.0.1", "port": "5038", "username": "hub",
                             "contexts": "from-trunk", "enabled": "y"})  # fmt: skip
    assert "permit = 127.0.0.1/255.255.255.255" in words(owner.get(made.location).text)


def test_the_trouble_is_told_in_ukrainian(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    path = add(database, people, state="refused", state_code="connection_refused", state_detail="192.0.2.1:5038")
    viewer = signed_in("viewer")
    viewer.post("/profile", {"name": "Viewer", "language": "uk"})
    text = words(viewer.get(path).text)
    assert "Хаб не може увійти до цієї АТС За адресою 192.0.2.1:5038 ніхто не приймає з'єднань. Від" in text
    assert "Що робити Перевірте хост і порт" in text
