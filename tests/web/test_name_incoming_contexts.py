"""An owner sees in which contexts strangers call, and makes one of them an incoming one."""

import html
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count

import pytest

from pbxhub.account.strange_contexts import StrangeContext, strange_contexts
from pbxhub.commands.checkup import check_hub
from pbxhub.settings import Settings
from pbxhub.store.accounts import AuditEntry, Employee, Pbx
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.vault import Vault
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People

NOON = datetime.fromisoformat("2026-11-29T10:00:00+00:00")  # in Kyiv
_number = count(1)


@pytest.fixture
def pbx_id(database: Database, people: People, settings: Settings) -> int:
    with database.write() as session:
        pbx = Pbx(project_id=people.project, name="Office", host="127.0.0.1", port=9, any_network=True,
                  username="hub", created_on=now(), incoming_contexts=["from-trunk*"],
                  secret_sealed=Vault(settings.secret_key).seal("s"))  # fmt: skip
        session.add(pbx)
        session.add(Employee(project_id=people.project, extension="201", endpoints=["anna2"]))
        session.flush()
        return pbx.id


def call(
    database: Database, people: People, pbx_id: int, context: str, channel: str, caller: str = "380441234567",
    direction: str = "internal", began: datetime = NOON,
) -> None:  # fmt: skip
    with database.write() as session:
        session.add(Call(id=new_id(), project_id=people.project, pbx_id=pbx_id, linkedid=f"1.{next(_number)}",
                         direction=direction, caller=caller, dst="101", started_on=began, ended_on=began,
                         data={"context": context, "channel": channel}))  # fmt: skip


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_calls_of_strangers_are_counted_by_context_and_those_of_employees_are_not(
    database: Database, people: People, pbx_id: int
) -> None:
    put = [
        ("ivr-in", "SIP/gsm-1-00000001"), ("ivr-in", "SIP/gsm-1-00000002"), ("default", "IAX2/line-123"),
        ("from-trunk-lviv", "PJSIP/lviv-00000001"),
        ("phones", "PJSIP/mac0011-00000001"), ("phones", "PJSIP/anna2-00000001"),
        ("office", "SIP/desk-00000001"),
    ]  # fmt: skip
    for context, channel in put:
        call(database, people, pbx_id, context, channel)
    call(database, people, pbx_id, "office", "SIP/other-00000001", direction="outgoing")
    call(database, people, pbx_id, "hall", "SIP/hall-00000001", caller="305")
    call(database, people, pbx_id, "ivr-in", "SIP/gsm-1-00000003", began=NOON - timedelta(hours=13))  # yesterday
    with database.read() as session:
        found = strange_contexts(session, session.get_one(Pbx, pbx_id), NOON)
    assert found == [StrangeContext("ivr-in", 2), StrangeContext("default", 1)]


def test_one_click_makes_a_context_an_incoming_one(
    database: Database, people: People, pbx_id: int, signed_in: Callable[[str], Browser]
) -> None:
    for _ in range(14):
        call(database, people, pbx_id, "ivr-in", "SIP/gsm-1-00000001", began=now())
    path = f"/projects/{people.project}/pbxs/{pbx_id}"
    sentence = "14 calls today came in the context ivr-in, which is not an incoming one."
    viewer = signed_in("viewer").get(path).text
    assert sentence in words(viewer)
    assert "Make it an incoming one" not in viewer
    owner = signed_in("owner")
    assert "Make it an incoming one" in owner.get(path).text
    answer = owner.post(f"{path}/contexts", {"context": "ivr-in"}, follow_redirects=True).text
    assert "Calls that begin in ivr-in are incoming from now on." in words(answer)
    assert sentence not in words(answer)
    owner.post(f"{path}/contexts", {"context": "ivr-in"})
    with database.read() as session:
        assert session.get_one(Pbx, pbx_id).incoming_contexts == ["from-trunk*", "ivr-in"]
        [line] = session.query(AuditEntry).all()
        assert line.changes == {"incoming_contexts": ["from-trunk*", "from-trunk*, ivr-in"]}


@pytest.mark.parametrize("context", ["", "*", "a b", "x" * 81])
def test_what_is_no_context_is_refused(
    database: Database, people: People, pbx_id: int, signed_in: Callable[[str], Browser], context: str
) -> None:
    path = f"/projects/{people.project}/pbxs/{pbx_id}"
    owner = signed_in("owner")
    owner.get(path)
    assert "alert-danger" in owner.post(f"{path}/contexts", {"context": context}, follow_redirects=True).text
    with database.read() as session:
        assert session.get_one(Pbx, pbx_id).incoming_contexts == ["from-trunk*"]


@pytest.mark.parametrize(("who", "status"), [("stranger", 404), ("editor", 403), ("viewer", 403)])
def test_nobody_else_changes_the_contexts(
    people: People, pbx_id: int, signed_in: Callable[[str], Browser], who: str, status: int
) -> None:
    browser = signed_in(who)
    answer = browser.post(f"/projects/{people.project}/pbxs/{pbx_id}/contexts", {"context": "ivr-in"})
    assert answer.status_code == status


def test_the_check_on_the_server_names_them(
    database: Database, people: People, pbx_id: int, settings: Settings
) -> None:
    call(database, people, pbx_id, "ivr-in", "SIP/gsm-1-00000001", began=now())
    url = database.engine.url.render_as_string(hide_password=False)
    found = [finding.sentence for _, finding in check_hub(replace(settings, database_url=url))]
    assert [text for text in found if text.startswith("1 call(s) today came in the context ivr-in")]
