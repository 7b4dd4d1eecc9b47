"""The hub on a real Asterisk: rights, filters, a wrong password, the line cut in a call, Asterisk killed in a call."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy.engine import make_url

from pbxhub.ami.login import Address
from pbxhub.paths import ASTERISK_CONF
from pbxhub.store.session import Database
from pbxhub.testing.pbx.asterisk import ADMIN_USER, AMI_PORT, HUB_USER, PASSWORD, Asterisk, running_asterisk
from pbxhub.testing.pbx.pbx_player import PbxPlayer
from pbxhub.testing.phones.softphone import Agent
from tests.support.hub import VAULT, calls_of, listening, pbx_of, stages_of
from tests.support.hub import add_pbx as add_played_pbx
from tests.support.pbx_line import HASTY, line_to, until

pytestmark = pytest.mark.asterisk
REAL = replace(HASTY, connect=5.0, answer=10.0, doubt=1.0)  # a real Asterisk thinks a second about a wrong password
ANSWERED = ["incoming.before", "incoming.forward", "incoming.pickup", "incoming.after"]


@pytest.fixture(scope="module", params=[22, 16])
def own(request: pytest.FixtureRequest) -> Iterator[Asterisk]:
    """An Asterisk that a test may kill."""
    with running_asterisk(request.param) as asterisk:
        yield asterisk


def address(pbx: Asterisk, user: str = HUB_USER, secret: str = PASSWORD) -> Address:
    return Address(pbx.address, AMI_PORT, user, secret)


def add_pbx(database: Database, pbx: Asterisk, **changes: object) -> int:
    player = PbxPlayer(HUB_USER, PASSWORD)
    return add_played_pbx(database, player, host=pbx.address, port=AMI_PORT, **changes)


@pytest.mark.parametrize("plain", [False, True])
def test_the_hub_filters_by_itself_and_hears_every_event_it_reads_and_no_other(own: Asterisk, plain: bool) -> None:
    async def scenario() -> None:
        async with line_to(replace(address(own, ADMIN_USER), plain_login=plain), REAL) as line:
            await line.until_state("connected")
            assert line.stocks[0].version.startswith(str(own.version))
            assert line.stocks[0].started_on is not None
            await asyncio.to_thread(own.cli, "channel originate Local/5550110@from-trunk application Wait 1")
            wanted = {"Event: Newchannel", "Event: Hangup", "Event: Cdr"}  # the last two in either order
            await until(lambda: wanted <= {event.partition("\r\n")[0] for event in line.events})
            protocol = line.connection._protocol
            assert protocol is not None
            assert protocol.counts.unwanted == 0  # Asterisk itself let nothing else through

    asyncio.run(scenario())


def test_a_wrong_password_is_told(own: Asterisk) -> None:
    async def scenario() -> None:
        async with line_to(address(own, secret="wrong"), REAL) as line:
            assert "Authentication failed" in (await line.until_state("refused", "login_failed")).sentence

    asyncio.run(scenario())


@pytest.fixture
def talking(own: Asterisk) -> Iterator[tuple[Agent, Agent]]:
    """A phone that waits and somebody outside who can call it."""
    with ExitStack() as phones:
        employee = phones.enter_context(Agent("101", own.address, PASSWORD, address=own.network.address(101)))
        caller = phones.enter_context(Agent("79161234567", own.address, address=own.network.address(2)))
        yield employee, caller


def _connected_since(database: Database, pbx_id: int, moment: datetime) -> bool:
    pbx = pbx_of(database, pbx_id)
    return pbx.state == "connected" and pbx.state_since is not None and pbx.state_since > moment


def begin_call(employee: Agent, caller: Agent) -> None:
    caller.dial("5550201")
    employee.accept()
    caller.await_established()


def test_a_hub_killed_in_a_call_goes_on_with_it(
    own: Asterisk, talking: tuple[Agent, Agent], database: Database
) -> None:
    async def scenario() -> None:
        pbx_id = add_pbx(database, own)
        async with listening(database, REAL, stopped=False):
            await until(lambda: pbx_of(database, pbx_id).state == "connected")
            await asyncio.to_thread(begin_call, *talking)
            await until(lambda: stages_of(database) == ANSWERED[:3])
        killed = datetime.now(UTC)
        async with listening(database, REAL):
            await until(lambda: _connected_since(database, pbx_id, killed))
            await asyncio.to_thread(talking[1].hangup)
            await until(lambda: stages_of(database) == ANSWERED)
        (call,) = calls_of(database)
        assert call.disposition == "ANSWERED"
        assert call.data["hangup_by"] == "caller"

    asyncio.run(scenario())


def test_a_call_that_only_the_stock_tells_of_is_taken_up_with_its_stages(
    own: Asterisk, talking: tuple[Agent, Agent], database: Database
) -> None:
    async def scenario() -> None:
        add_pbx(database, own)
        await asyncio.to_thread(begin_call, *talking)
        async with listening(database, REAL):
            await until(lambda: stages_of(database) == ANSWERED[:3])
            await asyncio.to_thread(talking[1].hangup)
            await until(lambda: stages_of(database) == ANSWERED)
        (call,) = calls_of(database)
        assert (call.caller, call.dst, call.extension) == ("79161234567", "5550201", "101")

    asyncio.run(scenario())


def test_a_call_that_was_parked_while_the_hub_was_dead_is_told_of_as_parked_once(
    own: Asterisk, talking: tuple[Agent, Agent], database: Database
) -> None:
    parked = [*ANSWERED[:3], "incoming.forward"]

    async def scenario() -> None:
        pbx_id = add_pbx(database, own, username="pbxhub-caller")
        async with listening(database, REAL):
            await until(lambda: pbx_of(database, pbx_id).state == "connected")
            await asyncio.to_thread(begin_call, *talking)
            await until(lambda: stages_of(database) == ANSWERED[:3])
        await asyncio.to_thread(talking[0].transfer, "700")
        await until(lambda: "(none)" not in own.cli("parking show default"))
        async with listening(database, REAL):
            await until(lambda: stages_of(database) == parked)
        restarted = datetime.now(UTC)
        async with listening(database, REAL):
            await until(lambda: _connected_since(database, pbx_id, restarted))
            await asyncio.to_thread(talking[1].hangup)
            await until(lambda: stages_of(database) == [*parked, "incoming.after"])
        (call,) = calls_of(database)
        assert (call.data["forward_kind"], call.data["forward_to"], call.data["forward_from"]) == ("park", "701", "101")

    asyncio.run(scenario())


def test_a_call_that_came_and_went_while_the_hub_was_dead_is_read_from_cel(
    own: Asterisk, talking: tuple[Agent, Agent], database: Database
) -> None:
    async def scenario() -> None:
        pbx_id = add_pbx(database, own, cel_path=str(own.cel_database))
        async with listening(database, REAL):
            await until(lambda: pbx_of(database, pbx_id).cel_cursor != 0)
        await asyncio.to_thread(begin_call, *talking)
        await asyncio.to_thread(talking[1].hangup)
        await asyncio.to_thread(own.wait_idle)
        async with listening(database, REAL):
            await until(lambda: stages_of(database) == ANSWERED)
        (call,) = calls_of(database)
        assert (call.disposition, call.data["hangup_by"]) == ("ANSWERED", "caller")

    asyncio.run(scenario())


@pytest.fixture
def cel_url(own: Asterisk, empty_postgres_url: str) -> Iterator[str]:
    """The table of asterisk-conf/README.md, into which the Asterisk writes by cel_pgsql."""
    url = make_url(empty_postgres_url)
    readme = (ASTERISK_CONF / "README.md").read_text()
    with psycopg.connect(empty_postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(readme.partition("```sql\n")[2].partition("GRANT")[0])
        (own.folder / "etc" / "cel_pgsql.conf").write_text(
            f"[global]\nhostname = {url.host}\nport = {url.port}\ndbname = {url.database}\nuser = {url.username}\n"
            "password = none\ntable = cel\nusegmtime = yes\n"
        )
        assert "Loaded cel_pgsql.so" in own.cli("module load cel_pgsql.so")
        yield f"{empty_postgres_url.replace('+psycopg', '')}?table=cel"
        own.cli("module unload cel_pgsql.so")


def test_a_call_that_came_and_went_while_the_hub_was_dead_is_read_from_a_cel_table(
    own: Asterisk, talking: tuple[Agent, Agent], database: Database, cel_url: str
) -> None:
    async def scenario() -> None:
        pbx_id = add_pbx(database, own, cel_url_sealed=VAULT.seal(cel_url))
        async with listening(database, REAL):
            await until(lambda: pbx_of(database, pbx_id).cel_cursor != 0)
        await asyncio.to_thread(begin_call, *talking)
        await asyncio.to_thread(talking[1].hangup)
        await asyncio.to_thread(own.wait_idle)
        async with listening(database, REAL):
            await until(lambda: stages_of(database) == ANSWERED)
        (call,) = calls_of(database)
        assert (call.disposition, call.data["hangup_by"], call.extension) == ("ANSWERED", "caller", "101")
        assert abs((call.started_on - datetime.now(UTC)).total_seconds()) < 60

    asyncio.run(scenario())


def test_asterisk_killed_in_a_call_ends_it_as_restarted(
    own: Asterisk, talking: tuple[Agent, Agent], database: Database
) -> None:
    async def scenario() -> None:
        pbx_id = add_pbx(database, own)
        async with listening(database, REAL):
            await until(lambda: pbx_of(database, pbx_id).state == "connected")
            await asyncio.to_thread(begin_call, *talking)
            await until(lambda: stages_of(database) == ANSWERED[:3])
            await asyncio.to_thread(own.kill)
            await until(lambda: pbx_of(database, pbx_id).state in ("lost", "refused"))
            await asyncio.to_thread(own.start)
            await until(lambda: stages_of(database) == ANSWERED)
        (call,) = calls_of(database)
        assert call.data["end_reason"] == "pbx_restarted"

    asyncio.run(scenario())
