"""A phone that is not called like its extension is known by the employee's card, also when the card changes."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from sqlalchemy import update

from pbxhub.store.accounts import Employee, Number, Pbx
from pbxhub.store.session import Database
from tests.support.hub import add_pbx, call_to, calls_of, listening, pbx_of
from tests.support.pbx_line import playing, until


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


@pytest.mark.slow
def test_a_call_is_the_employees_whose_card_names_the_phone_and_follows_the_card(database: Database) -> None:
    async def answered(player: Any, count: int, shown: str = "101") -> str:
        await player.play(call_to("anna2", shown), speed=0)
        await until(lambda: len(calls_of(database)) == count and all(call.ended_on for call in calls_of(database)))
        return max(calls_of(database), key=lambda call: call.started_on).extension

    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            with database.write() as session:
                project = session.get_one(Pbx, pbx_id).project_id
                session.add(Employee(project_id=project, extension="201", endpoints=["anna2"]))
                session.add(Number(project_id=project, pbx_id=pbx_id, did="5550"))
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                since = pbx_of(database, pbx_id).state_since
                assert await answered(player, 1) == "201"
                with database.write() as session:
                    session.execute(update(Employee).values(endpoints=["olena"]))
                count = 1
                while found := await answered(player, count := count + 1, shown="5550") != "anna2":
                    assert count < 1000, f"still {found}; a number of the company names nobody"
                assert pbx_of(database, pbx_id).state_since == since, "it must not have connected anew"

    run(scenario())
