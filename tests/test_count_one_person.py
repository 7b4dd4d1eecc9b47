"""One person calls: however the number was written, it is counted as one caller."""

import json
from typing import Any

import pytest
from sqlalchemy import select, update

from pbxhub.delivery.caller_persons import fill_persons
from pbxhub.store.accounts import Project
from pbxhub.store.history import Call
from pbxhub.store.session import Database
from pbxhub.webhooks.phones import person_of
from pbxhub.webhooks.spec import Parameter, RequestSpec
from tests.support.outbox_world import AFTER, World, at, report, spec

FIVE_WAYS = ("+380441234567", "380441234567", "0441234567", "00380441234567", "+38 (044) 123-45-67")


def call(database: Database, world: World, number: int, caller: str) -> dict[str, Any]:
    """One call more; what its webhook was told of the caller."""
    began = 3600 * number
    one = report(f"1.{number}", AFTER, caller=caller, started_on=at(began), answered_on=at(began), ended=began + 60,
                 values={"billsec": 60})  # fmt: skip
    world.publish(one, now=at(began + 60))
    return dict(json.loads(world.deliveries()[-1].body))


def watched(database: Database) -> World:
    world = World(database)
    names = ("call_counter", "first_call", "repeated_flag", "proper_flag")
    told = tuple(Parameter(name, value=f"<<{name}>>") for name in names)
    world.webhook(AFTER, spec(request=RequestSpec(url="http://127.0.0.1:9/", parameters=told)))
    return world


def persons(database: Database) -> list[str | None]:
    with database.read() as session:
        return list(session.scalars(select(Call.person).order_by(Call.started_on)))


def test_a_person_written_five_ways_is_one_caller(database: Database) -> None:
    world = watched(database)
    told = [call(database, world, number, caller) for number, caller in enumerate(FIVE_WAYS)]
    assert [one["call_counter"] for one in told] == [1, 2, 3, 4, 5]
    assert [one["first_call"] for one in told] == [True, False, False, False, False]
    assert [one["repeated_flag"] for one in told] == [False, True, True, True, True]
    assert [one["proper_flag"] for one in told] == [True, False, False, False, False]
    assert persons(database) == ["+380441234567"] * 5


@pytest.mark.parametrize(
    "caller",
    ["", "anonymous", "Anonymous", "<unknown>", "unavailable", "Restricted", "PRIVATE", "withheld", "+anonymous",
     "anonymous@anonymous.invalid", "sip:x@anonymous.invalid"],
)  # fmt: skip
def test_a_hidden_number_is_counted_with_nobody(database: Database, caller: str) -> None:
    world = watched(database)
    told = [call(database, world, number, caller) for number in range(2)]
    assert [one["call_counter"] for one in told] == [None, None]
    assert [one["proper_flag"] for one in told] == [None, None]


def test_a_number_without_its_area_code_is_nobody_elses() -> None:
    assert person_of("1234567", "UA") == "1234567"
    assert person_of("+380441234567", "UA") == person_of("044 123 45 67", "UA") == "+380441234567"
    assert person_of("101", "UA") == "101"
    assert person_of("0441234567", "") == "0441234567"


def test_calls_of_before_are_counted_and_get_their_person(database: Database) -> None:
    world = watched(database)
    for number in range(3):
        call(database, world, number, "0441234567")
    with database.write() as session:
        session.execute(update(Call).values(person=None))
    assert call(database, world, 3, "0441234567")["call_counter"] == 4
    assert fill_persons(database, batch=2, pause=0) == 3
    assert persons(database) == ["+380441234567"] * 4
    assert fill_persons(database, batch=2, pause=0) == 0
    assert call(database, world, 4, "+380441234567")["call_counter"] == 5


def test_another_country_of_the_project_reads_its_numbers_anew(database: Database) -> None:
    world = watched(database)
    call(database, world, 0, "0441234567")
    assert fill_persons(database, pause=0) == 0
    with database.write() as session:
        session.execute(update(Project).values(country="DE"))
    assert fill_persons(database, pause=0) == 1
    assert persons(database) == [person_of("0441234567", "DE")] != ["+380441234567"]
