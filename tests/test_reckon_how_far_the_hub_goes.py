"""The simulation behind docs/scale.md: it follows the hub's rules on small inputs, and the page's list of tables is
that of the models."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Table

from bench.scale.inputs import POSTGRESQL, SQLITE
from bench.scale.model import Found, Setup, simulate
from pbxhub.store.all_tables import metadata

PAGE = (Path(__file__).parents[1] / "docs" / "scale.md").read_text()
FEW = Setup(backlog=40)
FAR = replace(FEW, database_cores=4, trip=100e-6, receiver_here=False)


def speed(found: Found) -> float:
    return found.recorded / found.ended


@pytest.mark.parametrize("costs", [SQLITE, POSTGRESQL], ids=["sqlite", "postgresql"])
@pytest.mark.parametrize(
    "setup",
    [
        FEW,
        replace(FEW, published=True, hubs=2),
        replace(FEW, handoff=True),
        replace(FEW, capacity=8, answer=0.05),
        Setup(rate=200, seconds=0.5),
        replace(FAR, hubs=3, handoff=True, choosing=2),
    ],
    ids=["backlog", "two workers", "hand-off", "few at once", "a rate", "three hosts"],
)
def test_every_delivery_is_sent_and_recorded_once(costs: object, setup: Setup) -> None:
    found = simulate(costs, setup)  # type: ignore[arg-type]
    number = setup.backlog * 4 or int(setup.rate * setup.seconds)
    assert (len(found.sent), found.recorded) == (number, number)
    assert min(found.sent) > 0


def test_the_same_setup_gives_the_same_figures() -> None:
    setup = Setup(rate=300, seconds=0.5)
    assert simulate(SQLITE, setup) == simulate(SQLITE, setup)
    assert simulate(SQLITE, setup).sent != simulate(SQLITE, replace(setup, seed=2)).sent


def test_no_process_uses_more_of_python_than_one_core_has() -> None:
    found = simulate(POSTGRESQL, replace(FEW, cores=4))
    assert found.hub_cpu <= found.ended
    assert found.hub_cpu + found.server_cpu <= 4 * found.ended


def test_a_receiver_that_takes_long_limits_what_is_in_flight() -> None:
    found = simulate(SQLITE, replace(FEW, capacity=8, answer=0.5))
    assert found.ended >= 40 * 4 / 8 * 0.5


def test_another_host_adds_speed_until_the_database_is_the_limit() -> None:
    one, two = (speed(simulate(POSTGRESQL, replace(FAR, backlog=80 * hubs, hubs=hubs))) for hubs in (1, 2))
    assert one < two <= 2 * one * 1.05
    slow = [speed(simulate(POSTGRESQL, replace(FAR, backlog=160, hubs=hubs, database_cores=1))) for hubs in (4, 8)]
    assert slow[1] <= slow[0] * 1.1


def test_a_longer_way_to_the_database_makes_every_request_later() -> None:
    near, far = (simulate(POSTGRESQL, replace(FAR, backlog=0, rate=40, seconds=1, trip=trip)) for trip in (0, 1e-3))
    assert far.quantile(0.5) > near.quantile(0.5) + 15e-3  # of publishing and claiming


def listed() -> dict[str, tuple[str, str]]:
    """The rows of the page's list: the table, how its project is found, and whether its keys contain the project."""
    part = PAGE.partition("## Every table")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", part, re.MULTILINE)
    assert len(rows) == len({name: way for name, way, _ in rows})
    return {name: (way, keys) for name, way, keys in rows}


WITHOUT_A_FOREIGN_KEY = {"webhook_pace": "through `webhook_id`"}


def way_to_the_project(table: Table) -> str:
    if table.name in WITHOUT_A_FOREIGN_KEY:
        return WITHOUT_A_FOREIGN_KEY[table.name]
    if table.name == "project":
        return "is the project"
    if "project_id" in table.c:
        return "`project_id`, or none" if table.c["project_id"].nullable else "`project_id`"
    for column in sorted(table.c, key=lambda column: column.name):
        parents = {key.column.table.name for key in column.foreign_keys}
        if any(way_to_the_project(metadata.tables[parent]) != "of the hub" for parent in parents):
            return f"through `{column.name}`"
    return "of the hub"


def keys_with_the_project(table: Table) -> str:
    keys = [set(table.primary_key.columns.keys())]
    keys += [set(index.columns.keys()) for index in table.indexes if index.unique]
    keys += [set(key.columns.keys()) for key in table.constraints if type(key).__name__ == "UniqueConstraint"]  # type: ignore[attr-defined]
    having = sum("project_id" in key for key in keys)
    return f"{having} of {len(keys)}"


def test_the_page_tells_of_every_table_how_its_project_is_found() -> None:
    tables = {
        name: (way_to_the_project(table), keys_with_the_project(table)) for name, table in metadata.tables.items()
    }
    assert listed() == tables
