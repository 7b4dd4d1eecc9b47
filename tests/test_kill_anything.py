"""Whatever dies, at whatever step: nothing is lost, every attempt shows, a repeated request has the same webhook-id."""

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select

from pbxhub.database_url import read_database_url
from pbxhub.store.delivery_rows import DELIVERED, Attempt, Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.migrate import migrate
from pbxhub.store.session import open_database
from pbxhub.testing.hub.postgres import Cluster
from tests.support.kill_child import HUB, LISTENER, WEB, WORKER
from tests.support.killing import STAGES, House, Kill, adopting, attempt_of, rounds
from tests.support.two_nodes import TwoNodes
from tests.support.waiting import wait_until

# KILLS=1000 for the long run; two fifths on SQLite, the rest on PostgreSQL; half of each with the hand-off
KILLS = int(os.environ.get("KILLS", "80"))
KILLS_ON_TWO = int(os.environ.get("KILLS_ON_TWO", "8"))  # KILLS_ON_TWO=200 for the long run; half of them failovers
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + (KILLS + KILLS_ON_TWO) * 8)]
# a worker's death alternates with others, so that what it held is delivered meanwhile
OTHERS = (*LISTENER, *WEB)
STEPS = tuple((step, False) for pair in zip_longest(WORKER, OTHERS) for step in pair if step)
SERVER = tuple((step, True) for step in (*WORKER, *OTHERS))
HANDED = tuple((step, False) for step in HUB)
HANDED_OR_SERVER = tuple(step for pair in zip(HANDED, ((step, True) for step in HUB), strict=True) for step in pair)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server of the test's own, whose commits are commits.

    They reach the operating system, which survives a kill -9; the disk itself would only make each start slow.
    """
    folder = Path(tempfile.mkdtemp(prefix="pbxhub-kill-"))
    server = Cluster(folder, durable=True)
    server.create()
    with adopting():
        yield from _running(server)
    shutil.rmtree(folder, ignore_errors=True)


def _running(server: Cluster) -> Iterator[Cluster]:
    server.start()
    with psycopg.connect(server.url("postgres").replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET fsync = off")
        admin.execute("SELECT pg_reload_conf()")
    yield server
    server.stop()


def test_any_process_killed_at_any_step_on_sqlite_loses_nothing(tmp_path: Path) -> None:
    killing(f"sqlite:///{tmp_path / 'pbxhub.sqlite3'}", tmp_path, STEPS, KILLS // 5, None)


def test_any_process_and_the_server_killed_at_any_step_on_postgresql_lose_nothing(
    tmp_path: Path, cluster: Cluster
) -> None:
    mixed = tuple(step for pair in zip_longest(STEPS, SERVER) for step in pair if step)
    killing(cluster.url("pbxhub"), tmp_path, mixed, KILLS * 3 // 10, cluster)


def test_a_hub_killed_over_what_it_hands_to_its_sender_on_sqlite_loses_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'pbxhub.sqlite3'}"
    killing(url, tmp_path, HANDED, KILLS // 5, None, hands_over=True)


def test_a_hub_or_the_server_killed_over_what_is_handed_to_the_sender_on_postgresql_lose_nothing(
    tmp_path: Path, cluster: Cluster
) -> None:
    killing(cluster.url("pbxhub"), tmp_path, HANDED_OR_SERVER, KILLS * 3 // 10, cluster, hands_over=True)


def test_a_hub_that_sends_what_it_has_not_committed_is_found_out(tmp_path: Path) -> None:
    """What the tests above would say of a hand-off before the commit."""
    url = f"sqlite:///{tmp_path / 'pbxhub.sqlite3'}"
    database = open_database(url)
    migrate(database)
    bug = "a request leaves before the commit"
    with House(database, url, tmp_path, hands_over=True, bug=bug) as house:
        rounds(house, (("after request", False),), 1)
        wait_until(house.drained, "everything is delivered")
    with pytest.raises(AssertionError):
        nothing_is_wrong(house)
    database.close()


def test_a_worker_that_sends_nothing_of_a_dead_one_is_found_out(tmp_path: Path) -> None:
    """What the tests of processes apart would say of it."""
    url = f"sqlite:///{tmp_path / 'pbxhub.sqlite3'}"
    database = open_database(url)
    migrate(database)
    with House(database, url, tmp_path, bug="what a dead worker had stays there") as house:
        rounds(house, (("before request", False),), 1)
        with pytest.raises(TimeoutError):
            wait_until(house.drained, "everything is delivered", 10.0)
    database.close()


@pytest.fixture
def two_nodes() -> Iterator[TwoNodes]:
    """A primary and its synchronous standby."""
    folder = Path(tempfile.mkdtemp(prefix="pbxhub-kill-"))
    folder.chmod(0o755)
    servers = TwoNodes(folder)
    with adopting():
        servers.create()
        yield servers
        servers.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_any_process_killed_and_the_primary_failed_over_at_any_step_lose_nothing(
    tmp_path: Path, two_nodes: TwoNodes
) -> None:
    mixed = tuple(step for pair in zip_longest(SERVER, STEPS) for step in pair if step)
    url = read_database_url(two_nodes.url("pbxhub"))
    killing(url, tmp_path, mixed, KILLS_ON_TWO, two_nodes)
    assert two_nodes.failovers == (KILLS_ON_TWO + 1) // 2


def test_a_standby_that_got_nothing_is_found_out(tmp_path: Path, two_nodes: TwoNodes) -> None:
    """The same with a fault in it: what the test above would say of a hub that loses something."""
    url = read_database_url(two_nodes.url("pbxhub"))
    database = open_database(url)
    migrate(database)
    with House(database, url, tmp_path, two_nodes) as house:
        two_nodes.deafen()
        rounds(house, (("after request", True),), 1)
        wait_until(house.drained, "nothing is left to deliver")
    with pytest.raises(AssertionError):
        nothing_is_wrong(house)
    database.close()


def killing(
    url: str, folder: Path, steps: tuple[tuple[str, bool], ...], number: int, cluster: Cluster | TwoNodes | None,
    hands_over: bool = False,
) -> None:  # fmt: skip
    database = open_database(url)
    migrate(database)
    began = time.monotonic()
    with House(database, url, folder, cluster, hands_over) as house:
        rounds(house, steps, number)
        wait_until(house.drained, "everything is delivered")
    print(figures(house, time.monotonic() - began))
    assert len(house.kills) == number
    nothing_is_wrong(house)
    database.close()


def figures(house: House, seconds: float) -> str:
    """What a long run is for."""
    arrived = [attempt_of(request) for request in house.receiver.requests]
    ids = {webhook_id for webhook_id, _ in arrived}
    by_step = Counter(("server at " if kill.server else "") + kill.step for kill in house.kills)
    return (
        f"{len(house.kills)} kills in {seconds:.0f} s, {len(ids)} deliveries, {len(arrived)} requests, "
        f"{len(arrived) - len(ids)} of them repeated; {dict(by_step)}"
    )


def nothing_is_wrong(house: House) -> None:
    """The promise, looked at from both sides."""
    with house.database.read() as session:
        deliveries = session.scalars(select(Delivery)).all()
        attempts = {(str(row.delivery_id), row.number): row for row in session.scalars(select(Attempt))}
        query = select(StageEvent.id, Call.linkedid, StageEvent.stage, StageEvent.key).outerjoin(Call)
        events = {row[0]: (row[1] or "", row[2], row[3]) for row in session.execute(query)}
    assert sorted(events.values()) == sorted(house.expected)  # none lost, none invented, none twice
    wanted = {key for key, event in events.items() if event[1] in STAGES}
    assert sorted(row.stage_event_id for row in deliveries if row.stage_event_id) == sorted(wanted)
    assert {row.state for row in deliveries} == {DELIVERED}
    arrived = [attempt_of(request) for request in house.receiver.requests]
    assert {webhook_id for webhook_id, _ in arrived} == {str(row.id) for row in deliveries}
    assert len(set(arrived)) == len(arrived)  # a request that comes again says which attempt it is
    assert attempts.keys() >= set(arrived)  # no attempt invisible
    assert all(row.finished_on for row in attempts.values())
    bodies = {(request.header("webhook-id"), request.body) for request in house.receiver.requests}
    assert len(bodies) == len(deliveries)  # what is sent again is the same
    for kill in house.kills:
        it_was_at_its_step(kill, house.hands_over, set(arrived), attempts)


def it_was_at_its_step(
    kill: Kill, handed_over: bool, arrived: set[tuple[str, int]], attempts: dict[tuple[str, int], Attempt]
) -> None:
    """A worker killed before its request never sent it, one killed after did; both are shown as lost. A request that
    was handed over leaves from the thread that stands still, and the sender's own may record its answer meanwhile."""
    if kill.server or kill.about is None:
        return
    attempt = (kill.about[0], int(kill.about[1]))
    assert (attempt in arrived) == (kill.step != "before request")
    recorded = {"ok"} if handed_over and kill.step == "after request" else set[str]()
    assert attempts[attempt].outcome in {"worker_lost"} | recorded
