"""One publisher writes what all PBXs of a process reported: in few transactions, in order, fairly."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, OperationalError

from pbxhub.ami.publisher import GROUP, Publisher
from pbxhub.calls.stages import CallReport
from pbxhub.delivery.outbox import publish
from pbxhub.store.accounts import Number, Pbx, Project
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.listeners import LeaseTokens
from pbxhub.store.session import Database
from tests.support.outbox_world import AFTER, BEFORE, NOON, World, context_of, report

Groups = list[dict[int, list[str]]]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


def writes_into(groups: Groups, bad: Sequence[str] = ()) -> Any:
    def write(reports: Mapping[int, Sequence[CallReport]], tokens: LeaseTokens) -> None:
        names = {pbx_id: [one.linkedid for one in of_pbx] for pbx_id, of_pbx in reports.items()}
        if any(name in bad for of_pbx in names.values() for name in of_pbx):
            raise IntegrityError("INSERT", None, Exception("a report that the database rejects"))
        groups.append(names)

    return write


def test_what_ten_pbxs_reported_is_one_group() -> None:
    async def scenario() -> None:
        groups: Groups = []
        publisher = Publisher(writes_into(groups))
        queues = [publisher.open_queue(pbx_id, 100) for pbx_id in range(10)]
        for queue in queues:
            queue.put(report("1.1", BEFORE))
            queue.put(report("1.1", AFTER))
        writing = asyncio.create_task(publisher.run())
        for queue in queues:
            await queue.empty.wait()
        writing.cancel()
        assert groups == [{pbx_id: ["1.1", "1.1"] for pbx_id in range(10)}]

    run(scenario())


def test_a_pbx_with_a_backlog_does_not_delay_the_others() -> None:
    async def scenario() -> None:
        groups: Groups = []
        publisher = Publisher(writes_into(groups))
        busy, quiet = publisher.open_queue(1, 10_000), publisher.open_queue(2, 100)
        for number in range(3 * GROUP):
            busy.put(report(f"{number}", BEFORE))
        quiet.put(report("quiet", BEFORE))
        writing = asyncio.create_task(publisher.run())
        await busy.empty.wait()
        writing.cancel()
        assert groups[0][2] == ["quiet"]
        assert all(len(of_pbx) <= GROUP for group in groups for of_pbx in group.values())
        assert [name for group in groups for name in group.get(1, ())] == [str(n) for n in range(3 * GROUP)]

    run(scenario())


def test_a_pbx_that_is_added_does_not_wait_until_the_others_are_silent() -> None:
    async def scenario() -> None:
        def write(_reports: Mapping[int, Sequence[CallReport]], _tokens: LeaseTokens) -> None:
            loop.call_soon_threadsafe(busy.put, report("1.1", BEFORE))  # the next is there before this is written

        loop, publisher = asyncio.get_running_loop(), Publisher(write)
        busy = publisher.open_queue(1, 10_000)
        busy.put(report("1.1", BEFORE))
        busy.put(report("1.1", BEFORE))
        writing = asyncio.create_task(publisher.run())
        await asyncio.sleep(0.1)
        added = publisher.open_queue(2, 100)
        added.put(report("2.1", BEFORE))
        await asyncio.wait_for(added.empty.wait(), 2)
        publisher.close_queue(busy)
        writing.cancel()

    run(scenario())


@pytest.mark.parametrize("bad", [["a"], ["b2"], ["c3", "a"]])
def test_a_report_that_is_rejected_holds_up_nobody(bad: list[str]) -> None:
    async def scenario() -> None:
        groups: Groups = []
        publisher = Publisher(writes_into(groups, bad))
        given = {1: ["a"], 2: ["b1", "b2", "b3"], 3: ["c1", "c2", "c3", "c4"]}
        queues = {pbx_id: publisher.open_queue(pbx_id, 100) for pbx_id in given}
        for pbx_id, names in given.items():
            for name in names:
                queues[pbx_id].put(report(name, BEFORE))
        writing = asyncio.create_task(publisher.run())
        for queue in queues.values():
            await queue.empty.wait()
        writing.cancel()
        for pbx_id, names in given.items():
            written = [name for group in groups for name in group.get(pbx_id, ())]
            assert written == [name for name in names if name not in bad]

    run(scenario())


def test_while_the_database_is_away_every_queue_keeps_its_order() -> None:
    async def scenario() -> None:
        groups: Groups = []
        away, write = [True], writes_into(groups)

        def stumbling(reports: Mapping[int, Sequence[CallReport]], tokens: LeaseTokens) -> None:
            if away[0]:
                raise OperationalError("COMMIT", None, Exception("the server is gone"))
            write(reports, tokens)

        publisher = Publisher(stumbling)
        queues = [publisher.open_queue(pbx_id, 3) for pbx_id in (1, 2)]
        writing = asyncio.create_task(publisher.run())
        for number in range(3):
            for queue in queues:
                queue.put(report(f"{number}", BEFORE))
            await asyncio.sleep(0)
        while not queues[1].away:
            await asyncio.sleep(0.01)
        assert [queue.full.is_set() for queue in queues] == [True, True]
        assert [one.linkedid for one in queues[1].unwritten()] == ["0", "1", "2"]
        away[0] = False
        for queue in queues:
            await queue.empty.wait()
        writing.cancel()
        for pbx_id in (1, 2):
            assert [name for group in groups for name in group.get(pbx_id, ())] == ["0", "1", "2"]
        assert not any(queue.away or queue.full.is_set() for queue in queues)

    run(scenario())


def test_a_pbx_that_is_gone_is_written_no_more_and_the_others_go_on() -> None:
    async def scenario() -> None:
        groups: Groups = []
        publisher = Publisher(writes_into(groups))
        gone, other = publisher.open_queue(1, 100), publisher.open_queue(2, 100)
        gone.put(report("gone", BEFORE))
        publisher.close_queue(gone)
        newer = publisher.open_queue(1, 100)
        publisher.close_queue(gone)  # late: the PBX has a listener again
        other.put(report("other", BEFORE))
        newer.put(report("newer", BEFORE))
        writing = asyncio.create_task(publisher.run())
        await asyncio.gather(other.empty.wait(), newer.empty.wait())
        writing.cancel()
        assert groups == [{1: ["newer"], 2: ["other"]}] or groups == [{2: ["other"], 1: ["newer"]}]

    run(scenario())


def test_the_same_linkedid_on_two_pbxs_is_two_calls_of_their_own_projects(database: Database) -> None:
    """Numbering restarts with each Asterisk. A DID belongs to a project on its own PBX only."""
    world = World(database)
    with database.write() as session:
        project = Project(name="Bakery", country="PL", created_on=NOON)
        session.add(project)
        session.flush()
        other = Pbx(project_id=project.id, name="b", host="h", username="u", secret_sealed="", created_on=NOON)
        third = Project(name="Third", created_on=NOON)
        session.add_all([other, third])
        session.flush()
        session.add(Number(project_id=third.id, pbx_id=other.id, did="380445556677"))
        second = other.id
        projects = (world.project_id, third.id, project.id)
    world.webhook(BEFORE)
    call = report("1.1", BEFORE)
    elsewhere = call._replace(linkedid="1.2", dst="48221234567")
    for _ in range(2):  # and again, as after a lost answer of the commit
        publish(context_of(database), {world.pbx_id: [call], second: [call, elsewhere]}, NOON)
    with database.read() as session:
        rows = session.execute(select(Call.pbx_id, Call.linkedid, Call.project_id).order_by(Call.pbx_id, Call.linkedid))
        assert [tuple(row) for row in rows] == [
            (world.pbx_id, "1.1", projects[0]), (second, "1.1", projects[1]), (second, "1.2", projects[2]),
        ]  # fmt: skip
        assert len(session.scalars(select(StageEvent.id)).all()) == 3
    assert [row.project_id for row in world.deliveries()] == [world.project_id]
