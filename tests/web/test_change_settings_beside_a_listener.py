"""Settings are changed on the pages while `pbxhub listen`, another process, hears the PBX.

The proof has a twin in which the database rings no bell: there it must fail.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from pbxhub.store.session import Database
from tests.support.hub import call_to, calls_of, change_pbx, pbx_of
from tests.support.listening_hosts import Site, site
from tests.support.people import Browser, People
from tests.support.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)]
SignedIn = Callable[[str], Browser]
NEVER_BY_ITSELF = "import pbxhub.ami.listener as it; it._POLL = 3600.0"


@pytest.fixture
def host(database: Database, database_url: str, people: People, tmp_path: Path) -> Iterator[Site]:
    """One that listens to a PBX of the project, and reads what is set up only when it is told to."""
    with site(database, database_url, tmp_path, pbxs=1) as one:
        [pbx_id] = one.players
        change_pbx(database, pbx_id, project_id=people.project)
        one.listen("a", NEVER_BY_ITSELF)
        one.await_shares(1)
        yield one


def heard(host: Site, pbx_id: int, seconds: float = PATIENCE) -> None:
    """Until a call is the employee's whose card names the phone."""

    def is_hers() -> bool:
        number = len(calls_of(host.database)) + 1
        host.play(call_to("anna2", "101"), pbx_id)
        wait_until(lambda: len(found := calls_of(host.database)) == number and all(call.ended_on for call in found))
        return max(calls_of(host.database), key=lambda call: call.started_on).extension == "201"

    wait_until(is_hers, "the call is hers", seconds)


def add_card(owner: Browser, people: People) -> None:
    answer = owner.post(f"/projects/{people.project}/employees/new", {"extension": "201", "endpoints": "PJSIP/anna2"})
    assert answer.status_code == 302


def test_the_card_of_an_employee_is_known_and_a_changed_login_used_at_once(
    host: Site, people: People, signed_in: SignedIn
) -> None:
    owner, [pbx_id] = signed_in("owner"), host.players
    add_card(owner, people)
    heard(host, pbx_id)
    form = {"name": "PBX", "host": "127.0.0.1", "port": str(host.players[pbx_id].port), "contexts": "a", "enabled": "y"}
    edit = f"/projects/{people.project}/pbxs/{pbx_id}/edit"
    assert owner.post(edit, {**form, "username": "nobody"}).status_code == 302
    wait_until(lambda: pbx_of(host.database, pbx_id).state == "refused")
    assert owner.post(edit, {**form, "username": host.players[pbx_id].username}).status_code == 302
    wait_until(lambda: pbx_of(host.database, pbx_id).state == "connected")


def test_the_proof_finds_a_database_that_does_not_tell(host: Site, people: People, signed_in: SignedIn) -> None:
    with host.database.write() as session:
        session.execute(text("DROP TRIGGER pbxhub_changed ON employee"))
    add_card(signed_in("owner"), people)
    with pytest.raises(TimeoutError, match="the call is hers"):
        heard(host, *host.players, seconds=3.0)
