"""An owner says which numbers a PBX may call for programs, on the page of the PBX; everybody else only reads it."""

from collections.abc import Callable
from html import unescape

import pytest
from sqlalchemy import select

from pbxhub.store.accounts import Pbx
from pbxhub.store.ordered_calls import DialPlan
from pbxhub.store.session import Database
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People

SignIn = Callable[[str], Browser]
FORM = {
    "allowed": "_38044.\r\n112", "channel": "PJSIP/{extension}", "context": "from-internal", "ring_seconds": "20",
    "at_once": "5", "per_minute": "9",
}  # fmt: skip


@pytest.fixture
def site(people: People, database: Database) -> str:
    """The page of a PBX."""
    with database.write() as session:
        pbx = Pbx(project_id=people.project, name="Office", host="h", username="u", secret_sealed="", created_on=now())
        session.add(pbx)
        session.flush()
        return f"/projects/{people.project}/pbxs/{pbx.id}"


def plans(database: Database) -> list[DialPlan]:
    with database.read() as session:
        return list(session.scalars(select(DialPlan)))


def test_an_owner_finds_the_dial_plan_on_the_page_of_the_pbx_and_changes_it(
    signed_in: SignIn, site: str, database: Database
) -> None:
    owner = signed_in("owner")
    assert f'href="{site}/dial-plan"' in owner.get(site).text
    page = owner.get(f"{site}/dial-plan")
    assert ">\n_X.\n_+X.</textarea>" in page.text.replace("\r", "")
    assert f'href="{site}"' in page.text
    assert owner.post(f"{site}/dial-plan", FORM).status_code == 302
    (plan,) = plans(database)
    assert (plan.allowed, plan.ring_seconds, plan.at_once, plan.per_minute) == (["_38044.", "112"], 20, 5, 9)
    assert "_38044.\n112</textarea>" in owner.get(f"{site}/dial-plan").text


def test_a_rule_of_the_former_notation_is_refused_beside_its_field_and_stays_in_it(
    signed_in: SignIn, site: str, database: Database
) -> None:
    owner = signed_in("owner")
    owner.get(f"{site}/dial-plan")
    answer = owner.post(f"{site}/dial-plan", {**FORM, "allowed": "38044* _[9-1]"})
    assert answer.status_code == 422
    text = unescape(answer.text)
    assert "38044* has a * but no _ before it. Write _38044. for every number that begins with 38044." in text
    assert "[9-1] in _[9-1] is not a set of digits." in text
    assert "38044*\n_[9-1]</textarea>" in text
    assert plans(database) == []


@pytest.mark.slow
def test_what_is_no_number_or_out_of_range_changes_nothing(signed_in: SignIn, site: str, database: Database) -> None:
    owner = signed_in("owner")
    owner.get(f"{site}/dial-plan")
    for field in ("ring_seconds", "at_once", "per_minute", "channel", "context"):
        for value in ("", "x y", "9" * 101):
            answer = owner.post(f"{site}/dial-plan", {**FORM, field: value})
            assert (field, value, answer.status_code) == (field, value, 422)
            assert "field-error" in answer.text
    assert plans(database) == []


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_others_of_the_project_read_it(signed_in: SignIn, site: str, database: Database, role: str) -> None:
    member = signed_in(role)
    page = member.get(f"{site}/dial-plan").text
    assert "_X." in page
    assert "<fieldset disabled>" in page
    assert ">Save<" not in page
    assert member.post(f"{site}/dial-plan", FORM).status_code == 403
    assert plans(database) == []


def test_a_stranger_finds_nothing(signed_in: SignIn, site: str, database: Database) -> None:
    stranger = signed_in("stranger")
    assert stranger.get(f"{site}/dial-plan").status_code == 404
    assert stranger.post(f"{site}/dial-plan", FORM).status_code == 404
    assert plans(database) == []
