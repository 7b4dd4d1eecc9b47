"""The listener writes on a PBX's row what its page shows: the pace of events, the hub's own address, and why not."""

import asyncio
import time
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import event

from pbxhub.ami.pbx_listener import EventRate
from pbxhub.sending.own_address import own_address
from pbxhub.store.session import Database
from tests.support.hub import VAULT, add_pbx, listening, pbx_of
from tests.support.pbx_line import HASTY, address_of, line_to, playing, until

RINGS = (
    "Event: Newchannel\nPrivilege: call,all\nTimestamp: 1795330979.1\nChannel: PJSIP/trunk-{0:08x}\nChannelState: 4\n"
    "Context: from-trunk\nExten: 5550100\nUniqueid: 1795330979.{0}\nLinkedid: 1795330979.{0}"
)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def test_the_pace_is_what_came_within_a_minute() -> None:
    rate = EventRate(1000.0)
    for second in range(200):
        for _ in range(3):
            rate.count(float(second))
        counted = rate.last_minute(1001.0 + second)
        assert counted == 3 * min(second + 1, 60)
    assert rate.last == 199.0
    assert rate.last_minute(1230.0) == 90
    assert rate.last_minute(1500.0) == 0


@pytest.mark.slow
def test_a_row_shows_the_pace_and_the_address_and_is_written_every_few_seconds(database: Database) -> None:
    writes: list[float] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE pbx SET") and "seen_on" in statement:
            writes.append(time.monotonic())

    async def scenario() -> None:
        async with playing() as player, listening(database):
            pbx_id = add_pbx(database, player)
            await until(lambda: pbx_of(database, pbx_id).state == "connected")
            assert pbx_of(database, pbx_id).hub_address == "127.0.0.1"
            event.listen(database.engine, "before_cursor_execute", note)
            try:
                for number in range(100):
                    await player.send(RINGS.format(number))
                    await asyncio.sleep(0.06)  # the load itself: events over six seconds
                await until(lambda: pbx_of(database, pbx_id).events_last_minute >= 100)
            finally:
                event.remove(database.engine, "before_cursor_execute", note)
            assert all(after - before > 4 for before, after in pairwise(writes))
            row = pbx_of(database, pbx_id)
            assert row.seen_on is not None
            assert row.last_event_on is not None

    run(scenario())


@pytest.mark.slow
def test_a_pbx_that_refuses_shows_why_and_which_address_it_must_let_in(database: Database) -> None:
    async def scenario() -> None:
        async with playing() as player, listening(database):
            player.secret = "another"
            pbx_id = add_pbx(database, player, secret_sealed=VAULT.seal("hubsecret"))
            await until(lambda: pbx_of(database, pbx_id).hub_address)
            row = pbx_of(database, pbx_id)
            assert (row.state, row.state_code, row.hub_address) == ("refused", "login_failed", "127.0.0.1")
            assert row.state_detail in row.standing.why
            assert row.state_reason == f"{row.standing.why} {row.standing.advice}"

    run(scenario())


def test_a_line_that_was_never_up_knows_its_address() -> None:
    async def scenario() -> None:
        async with playing() as player:
            address = address_of(player)
        async with line_to(address, HASTY) as line:
            await line.until_state("refused", "connection_refused")
            await until(lambda: line.connection.own_address == "127.0.0.1")

    run(scenario())


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("no-such-pbx.invalid", ""),
        ("a\0b", ""),
        ("", ""),
        ("1.2.3.999", ""),
    ],
)
def test_the_own_address_is_the_one_the_route_leaves_from(host: str, expected: str) -> None:
    assert own_address(host, 5038, ask_dns=False) == expected
