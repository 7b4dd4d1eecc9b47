"""A viewer narrows the list of calls, takes it away as a file, and reads what employees and numbers did."""

import csv
import io
import re
from collections.abc import Callable

import pytest

from pbxhub.store.accounts import Pbx
from pbxhub.store.session import Database
from pbxhub.wsgi.current import now
from tests.support.made_calls import CALLS, make_calls
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]
OVER = set(CALLS) - {"live"}


@pytest.fixture
def project(database: Database, people: People) -> str:
    with database.write() as session:
        pbx = Pbx(project_id=people.project, name="P", host="h", username="u", secret_sealed="", created_on=now())
        session.add(pbx)
        session.flush()
        pbx_id = pbx.id
    make_calls(database, people.project, pbx_id)
    return f"/projects/{people.project}"


@pytest.mark.slow
def test_the_list_and_its_file_have_the_calls_of_a_filter(signed_in: SignedIn, project: str) -> None:
    viewer = signed_in("viewer")
    for given, expected in (
        ("", OVER),
        ("employee=101", {"1.1", "1.2", "1.4", "1.7"}),
        ("employee=Anna&direction=incoming", {"1.1", "1.2"}),
        ("did=044%20555-66-77", {"1.1", "1.2", "1.3", "1.6"}),
        ("talk_from=5&talk_to=60", {"1.1", "1.3", "1.7"}),
        ("result=missed", {"1.2", "1.6"}),
        ("result=unanswered&employee=102", {"1.5"}),
        ("recorded=yes", {"1.1", "1.4"}),
        ("recorded=no&disposition=NO+ANSWER", {"1.2"}),
        ("number=1112233", {"1.1", "1.2", "1.3", "1.5", "1.6"}),
        ("number=1.4", {"1.4"}),
        ("from=2026-07-10T13:30&to=2026-07-10T15:30", {"1.3", "1.4"}),
    ):
        page = viewer.get(f"{project}/calls?{given}").text
        assert len(re.findall(r'class="row-link"', page)) == len(expected), given
        (link,) = re.findall(r'href="([^"]*/export/calls\.csv[^"]*)"', page)
        rows = csv.DictReader(io.StringIO(viewer.get(link.replace("&amp;", "&")).text.removeprefix("\ufeff")))
        assert {row["linkedid"] for row in rows} == expected, given


def test_a_filter_that_is_none_is_refused_with_a_sentence(signed_in: SignedIn, project: str) -> None:
    viewer = signed_in("viewer")
    for wrong in ("talk_from=-1", "recorded=maybe", "direction=up", "result=lost", "from=noon", "did=" + "1" * 151):
        answer = viewer.get(f"{project}/calls?{wrong}")
        assert answer.status_code == 400, wrong
        assert "cannot be used" in answer.text, wrong


def test_a_report_leads_to_the_calls_that_it_counts(signed_in: SignedIn, project: str) -> None:
    viewer = signed_in("viewer")
    when = "from=2026-07-10T00:00&to=2026-07-11T00:00"
    for by, first, counted in (("employee", "Anna", "4"), ("number", "Site", "4")):
        page = viewer.get(f"{project}/calls/report?by={by}&{when}").text
        (link, name), *_ = re.findall(r'class="row-link"\s+href="([^"]*)">([^<]*)<', page)
        assert name == first
        assert re.findall(r'<td class="num">(\d+)</td>', page)[0] == counted
        assert len(re.findall('class="row-link"', viewer.get(link.replace("&amp;", "&")).text)) == int(counted), by
    assert viewer.get(f"{project}/calls/report?by=number&direction=outgoing&{when}").text.count('class="row-link"') == 1
    assert "No calls in this time" in viewer.get(f"{project}/calls/report?last=15m").text
