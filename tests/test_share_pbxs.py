"""Listeners on several hosts share the PBXs: each PBX has one, and another one takes over when its host fails.

Each fault has a twin with a planted bug, in which the same proof must fail: a proof that cannot fail proves nothing.
"""

import asyncio
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text, update
from sqlalchemy.engine import make_url

from pbxhub.ami import lease_heartbeat
from pbxhub.ami.lease_heartbeat import LeaseHeartbeat
from pbxhub.ami.pbx_rows import Observed, ObservedPbx, read_rows, write_notes, write_observed
from pbxhub.ami.pbx_shares import fair_change
from pbxhub.ami.unwritten_stages import keep_unwritten, unwritten_file
from pbxhub.delivery.outbox import publish
from pbxhub.store.accounts import Pbx
from pbxhub.store.history import Call, LiveCall, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.listeners import LAPSE, Held, Leases, ListenerProcess, PbxLease, Sight, still_held
from pbxhub.store.migrate import migrate
from pbxhub.store.pbx_state_sentences import PbxState
from pbxhub.store.session import Database, open_database
from pbxhub.testing.hub.postgres import Cluster
from pbxhub.testing.pbx.recordings import Recording, freshen
from tests.support.cel_files import new_cel, write_call
from tests.support.hub import VAULT, answered, change_pbx, pbx_of
from tests.support.listening_hosts import Cable, Site, site
from tests.support.outbox_world import AFTER, BEFORE, NOON, World, at, context_of, forward, report
from tests.support.pbx_line import until
from tests.support.waiting import PATIENCE, wait_until

ANSWERED = ["incoming.before", "incoming.forward", "incoming.pickup", "incoming.after"]
IN_TIME = 5.0  # seconds until another one has taken over
BUSY_MACHINE = 10.0  # more seconds that tests beside others may take
LISTENERS = [new_id() for _ in range(5)]
LeasesOf = Callable[[UUID], Leases]
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

# --- who should have which PBX


def leases_of(owners: list[int | None]) -> tuple[Held, ...]:
    """PBX n has the listener with that number; None: nobody."""
    return tuple(
        Held(number, 1, None if owner is None else LISTENERS[owner], owner is None)
        for number, owner in enumerate(owners)
    )


@given(st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=40), st.integers(1, 5))
def test_shares_become_fair_in_one_round_and_then_nothing_moves(owners: list[int | None], alive: int) -> None:
    owners = [None if owner is None or owner >= alive else owner for owner in owners]
    settled = frozenset(LISTENERS[:alive])
    for moves_allowed in (True, True, False):
        sight = Sight(settled, leases_of(owners))
        changes = [fair_change(LISTENERS[number], sight, may_inherit=True) for number in range(alive)]
        taken = [pbx for change in changes for pbx in change.take]
        assert len(taken) == len(set(taken)), "two would take the same"
        assert moves_allowed or not any(change.take or change.give for change in changes)
        for number, change in enumerate(changes):
            for pbx in change.give:
                owners[pbx] = None
            for pbx in change.take:
                owners[pbx] = number
    counts = [owners.count(number) for number in range(alive)]
    assert max(counts) - min(counts) <= 1
    assert None not in owners


def test_one_that_has_just_started_is_given_nothing_and_takes_its_share_of_what_is_free() -> None:
    old, new = LISTENERS[:2]
    sight = Sight(frozenset({old}), leases_of([0, 0, 0, 0]))
    assert fair_change(old, sight, True).give == ()
    assert fair_change(new, sight, True).take == ()
    assert fair_change(new, replace(sight, leases=leases_of([0, 0, None, None])), True).take == (2, 3)


def test_what_a_dead_one_has_is_left_to_it_by_one_that_has_not_watched_for_long() -> None:
    dead = Sight(frozenset(), (Held(7, 3, None, released=False),))
    assert fair_change(LISTENERS[0], dead, may_inherit=False).take == ()
    assert fair_change(LISTENERS[0], dead, may_inherit=True).take == (7,)


# --- the leases


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.fixture
def leases(database: Database) -> Iterator[LeasesOf]:
    """Those of a listener, on a connection that is closed at the end."""
    with ExitStack() as stack:
        yield lambda me: Leases(stack.enter_context(closing(database.own_connection())), me, "host")


def kill(database: Database, listener: UUID) -> None:
    """Lets it be silent for longer than LAPSE."""
    with database.write() as session:
        session.execute(
            text(f"UPDATE listener SET seen_on = clock_timestamp() - interval '{LAPSE + 0.1} s' WHERE id = :id"),
            {"id": listener},
        )


def token_of(database: Database, pbx_id: int) -> int:
    with database.read() as session:
        return session.get_one(PbxLease, pbx_id).token


@postgresql
def test_a_lease_is_taken_only_from_nobody_and_from_the_dead(world: World, leases: LeasesOf) -> None:
    first, second = map(leases, LISTENERS[:2])
    first.beat()
    second.beat()
    first.take([world.pbx_id])
    token = token_of(world.database, world.pbx_id)
    second.take([world.pbx_id])
    assert token_of(world.database, world.pbx_id) == token
    kill(world.database, LISTENERS[0])
    second.take([world.pbx_id])
    assert token_of(world.database, world.pbx_id) == token + 1
    [lease] = first.beat().leases
    assert (lease.listener, lease.token) == (LISTENERS[1], token + 1)
    second.release([world.pbx_id])
    first.take([world.pbx_id])
    assert token_of(world.database, world.pbx_id) == token + 2
    first.leave()
    [lease] = second.beat().leases
    assert lease.released


@postgresql
def test_no_lease_changes_hands_while_its_holder_writes(world: World, leases: LeasesOf) -> None:
    first, second = map(leases, LISTENERS[:2])
    first.beat()
    first.take([world.pbx_id])
    token = token_of(world.database, world.pbx_id)
    with world.database.write() as session:
        assert still_held(session, {world.pbx_id: token}) == {world.pbx_id}
        kill(world.database, LISTENERS[0])
        second.beat()
        second.take([world.pbx_id])  # returns at once
        assert token_of(world.database, world.pbx_id) == token
    second.take([world.pbx_id])
    with world.database.write() as session:
        assert still_held(session, {world.pbx_id: token}) == frozenset()


@postgresql
def test_one_that_stands_still_while_it_writes_or_is_cut_off_is_ended_by_the_database(
    world: World, leases: LeasesOf
) -> None:
    """Cut off in the middle of an executemany() its transaction is not idle: only unanswered keepalives end it."""
    first = leases(LISTENERS[0])
    first.beat()
    first.take([world.pbx_id])
    names = (
        "idle_in_transaction_session_timeout",
        "tcp_user_timeout",
        "tcp_keepalives_idle",
        "tcp_keepalives_interval",
    )
    shown = text(f"SELECT {', '.join(f'current_setting({name!r})' for name in names)}")
    with world.database.write() as session:
        still_held(session, {world.pbx_id: 1})
        assert session.execute(shown).one() == ("3s", "3000", "1", "1")
    with world.database.write() as session:
        assert session.execute(shown).one() != ("3s", "3000", "1", "1"), "only in the transaction that locks"


@postgresql
@pytest.mark.parametrize("by", ["release", "leave"])
def test_a_pbx_that_is_released_is_taken_before_the_next_beat(
    world: World, leases: LeasesOf, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(lease_heartbeat, "BEAT", 3600.0)
    first = leases(LISTENERS[0])
    first.beat()
    first.take([world.pbx_id])

    async def take_over() -> None:
        heartbeat = LeaseHeartbeat(world.database)
        beating = asyncio.create_task(heartbeat.run())
        await until(lambda: len(listeners(world.database)) == 2)
        first.release([world.pbx_id]) if by == "release" else first.leave()
        await asyncio.wait_for(heartbeat.changed.wait(), PATIENCE)
        assert heartbeat.tokens == {world.pbx_id: 2}
        beating.cancel()
        await heartbeat.close()

    asyncio.run(take_over())


@postgresql
def test_a_pbx_that_is_disconnected_while_a_last_beat_is_under_way_is_released_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, go_on, beat = threading.Event(), threading.Event(), Leases.beat

    def slow_beat(leases: Leases) -> Sight:
        under_way.set()
        go_on.wait(PATIENCE)
        return beat(leases)

    async def stop() -> None:
        heartbeat = LeaseHeartbeat(world.database)
        beating = asyncio.create_task(heartbeat.run())
        await until(lambda: heartbeat.tokens)
        monkeypatch.setattr(Leases, "beat", slow_beat)
        await until(under_way.is_set)
        heartbeat.leave()
        heartbeat.release(())
        go_on.set()
        await until(lambda: holder_of(world.database, world.pbx_id) is None)
        beating.cancel()
        await heartbeat.close()

    asyncio.run(stop())


def holder_of(database: Database, pbx_id: int) -> UUID | None:
    with database.read() as session:
        return session.get_one(PbxLease, pbx_id).listener_id


def listeners(database: Database) -> list[ListenerProcess]:
    with database.read() as session:
        return list(session.scalars(select(ListenerProcess)))


@pytest.fixture
def outdated(world: World, leases: LeasesOf) -> int:
    """A token of a lease that another listener has taken since."""
    one = leases(LISTENERS[0])
    one.beat()
    one.take([world.pbx_id])
    with world.database.write() as session:
        session.execute(update(PbxLease).values(token=PbxLease.token + 1))
    return 1


@postgresql
def test_one_that_has_lost_a_pbx_writes_only_stages_that_nobody_else_has(world: World, outdated: int) -> None:
    database, ours = world.database, {world.pbx_id: outdated + 1}
    publish(
        context_of(database), {world.pbx_id: [report("1.1", BEFORE, extension="101", memory={"by": "B"})]}, NOON, ours
    )
    publish(context_of(database), {world.pbx_id: [report("1.2", BEFORE), report("1.2", AFTER, ended=9)]}, NOON, ours)
    late = [
        report("1.1", BEFORE, extension="100", memory={"by": "A"}), report("1.1", forward("101"), memory={"by": "A"}),
        report("1.2", forward("101")), report("1.3", BEFORE, memory={"by": "A"}),
    ]  # fmt: skip
    for _ in range(2):
        publish(context_of(database), {world.pbx_id: late}, NOON, {world.pbx_id: outdated})
    with database.read() as session:
        stages = select(Call.linkedid, StageEvent.stage).join(Call, Call.id == StageEvent.call_id)
        assert [tuple(row) for row in session.execute(stages.order_by(StageEvent.id))] == [
            ("1.1", BEFORE), ("1.2", BEFORE), ("1.2", AFTER), ("1.1", "incoming.forward"), ("1.3", BEFORE),
        ]  # fmt: skip
        notes = {row.linkedid: row.memory for row in session.scalars(select(LiveCall))}
        assert notes == {"1.1": {"by": "B"}}
        assert session.scalar(select(Call.extension).where(Call.linkedid == "1.1")) == "101"


@postgresql
def test_one_that_has_lost_a_pbx_writes_neither_its_notes_nor_its_state(world: World, outdated: int) -> None:
    with world.database.write() as session:
        session.execute(update(Pbx).values(secret_sealed=VAULT.seal("secret")))
    for token, seen in ((outdated + 1, "connected"), (outdated, "lost")):
        row = read_rows(world.database, VAULT, {world.pbx_id: token})[world.pbx_id]
        observed = ObservedPbx(PbxState(seen), at(0), None, "", None)  # type: ignore[arg-type]
        write_observed(world.database, [Observed(row.id, row.token, observed)])
        write_notes(world.database, world.pbx_id, token, {"1.1": {"by": token}})
    with world.database.read() as session:
        assert session.scalar(select(Pbx.state)) == "connected"
        assert session.scalar(select(LiveCall.memory)) == {"by": outdated + 1}


# --- processes


@pytest.fixture
def hosts(database: Database, database_url: str, tmp_path: Path) -> Iterator[Site]:
    with site(database, database_url, tmp_path, pbxs=6) as one:
        yield one


@postgresql
def test_listeners_that_come_and_go_share_the_pbxs_fairly(hosts: Site) -> None:
    hosts.listen("a")
    hosts.await_shares(6)
    hosts.listen("b")
    hosts.await_shares(3, 3)
    hosts.listen("c")
    hosts.await_shares(2, 2, 2)
    hosts.listeners["b"].stop()
    hosts.await_shares(3, 3, seconds=IN_TIME + BUSY_MACHINE)  # it has released them, nobody waits for LAPSE


# Nothing but the last state of the PBX that the test locks waits for the lock, and for as long as the test needs
SLOW_TO_STOP = """
import pbxhub.ami.listener, pbxhub.ami.observed_states as states, pbxhub.store.postgresql
pbxhub.ami.listener._CLOSE = 60.0
pbxhub.store.postgresql._LIMITS["lock_timeout"] = "60s"
states._BETWEEN = states._ALIVE = 3600.0
"""


@postgresql
def test_a_listener_that_stops_lets_others_have_each_pbx_while_it_still_waits_for_another_one(hosts: Site) -> None:
    hosts.listen("a", f"exec({SLOW_TO_STOP!r})")
    hosts.await_shares(6)
    hosts.listen("b")
    hosts.await_shares(3, 3)
    slow = next(pbx_id for pbx_id in hosts.players if hosts.host_of(pbx_id) == "a")
    with hosts.database.write() as session:
        session.get_one(Pbx, slow, with_for_update=True)  # its last state cannot be written
        hosts.listeners["a"].signal(signal.SIGTERM)
        wait_until(lambda: hosts.shares() == [5, 1], "all but one belong to b")
        assert hosts.host_of(slow) == "a"
    hosts.await_shares(6)


NOT_KEPT = "import pbxhub.ami.pbx_listener as it; it.write_cursor = lambda *_: None"


def calls_between_hosts(hosts: Site, cel: Path, plant: str = "pass") -> None:
    """Nobody hears a PBX that has CEL, and one that has none, while two calls end on each: one that was going on, and
    one that begins, is answered and ends in between."""
    change_pbx(hosts.database, 1, cel_path=str(cel))
    hosts.listen("a", plant)
    hosts.await_shares(2)
    wait_until(lambda: pbx_of(hosts.database, 1).cel_cursor != 0 or plant == NOT_KEPT, "where CEL begins")
    begun, ended = answered()
    for pbx_id in hosts.players:
        hosts.play(begun, pbx_id)
    wait_until(lambda: [*hosts.stages().values()] == [ANSWERED[:3]] * 2, "both are answered")
    hosts.listeners["a"].stop()
    now = datetime.now(UTC).timestamp()
    write_call(cel, *legs_of(begun), float(legs_of(begun)[0]))
    write_call(cel, f"{int(now)}.903", f"{int(now)}.904", now)
    for pbx_id in hosts.players:
        hosts.play(ended, pbx_id)
        hosts.play(whole_call(), pbx_id)
    hosts.listen("b", plant)
    hosts.await_shares(2)
    linkedid = legs_of(begun)[0]
    told = {f"1 {linkedid}": ANSWERED, f"1 {int(now)}.903": ANSWERED, f"2 {linkedid}": ANSWERED}
    wait_until(
        lambda: hosts.stages() == told,
        "what CEL tells of the one, and of the other that its call is over",
        PATIENCE if plant == "pass" else 20.0,
    )
    with hosts.database.read() as session:
        reasons = {call.pbx_id: call.data["end_reason"] for call in session.scalars(select(Call).order_by(Call.id))}
    assert reasons == {1: "hangup", 2: "lost_while_disconnected"}


@pytest.fixture
def cel(tmp_path: Path) -> Path:
    return new_cel(tmp_path / "master.db")


def legs_of(call: Recording) -> list[str]:
    """The uniqueids of its caller and of the phone that is called."""
    text = "\n".join(played.block for played in call.events)
    return list(dict.fromkeys(re.findall(r"Uniqueid: (1\d+\.\d+)$", text, re.MULTILINE)))[:2]


@pytest.fixture
def two_pbxs(database: Database, database_url: str, tmp_path: Path) -> Iterator[Site]:
    with site(database, database_url, tmp_path, pbxs=2) as one:
        yield one


@postgresql
def test_what_ends_while_a_pbx_changes_hands_is_told_by_cel_and_otherwise_shown_as_unknown(
    two_pbxs: Site, cel: Path
) -> None:
    calls_between_hosts(two_pbxs, cel)


@postgresql
def test_the_proof_of_the_gap_finds_that_the_place_in_cel_is_not_kept(two_pbxs: Site, cel: Path) -> None:
    with pytest.raises(TimeoutError, match="what CEL tells"):
        calls_between_hosts(two_pbxs, cel, NOT_KEPT)


@postgresql
def test_what_a_host_kept_when_it_stopped_is_written_though_another_one_keeps_its_pbx(hosts: Site) -> None:
    hosts.listen("b")
    hosts.await_shares(6)
    (hosts.folder / "a").mkdir()
    kept = unwritten_file(hosts.folder / "a", hosts.key_of(1))
    keep_unwritten(
        kept, token_of(hosts.database, 1) - 1, [report("1.1", BEFORE, memory={"by": "a"})], {"1.1": {"by": "a"}}
    )
    hosts.listen("a")
    hosts.await_shares(3, 3)
    assert hosts.host_of(1) == "b"
    wait_until(lambda: hosts.stages() == {"1 1.1": [BEFORE]}, "the kept stage")
    wait_until(lambda: not kept.exists(), "that the file is deleted")
    with hosts.database.read() as session:
        assert session.scalars(select(LiveCall)).all() == [], "only b writes notes"


NO_TAKE_OVER = "import pbxhub.ami.pbx_shares as it; it._is_free = lambda lease, may_inherit: lease.released"
NO_FENCE = "import pbxhub.store.listeners as it; it.still_held = lambda session, tokens: frozenset(tokens)"
NOTHING_LATE = (
    "import pbxhub.delivery.call_rows as it; late = it._outdated;"
    " it._outdated = lambda call, report: late(call, report._replace(stages=()))"
)
NO_NEW_CONNECTION = "import pbxhub.ami.lease_heartbeat as it; it.LeaseHeartbeat._disconnect = lambda self: None"
HASTY_HEIR = "import pbxhub.ami.lease_heartbeat as it; it.LeaseHeartbeat._may_inherit = lambda self: True"


def two(hosts: Site, plant: str = "pass", url: str = "") -> None:
    """Listeners a and b, each with half of the PBXs. url: where b finds the database."""
    hosts.watch()
    hosts.listen("a", plant)
    hosts.listen("b", plant, url)
    hosts.await_shares(3, 3)


def calls_across(hosts: Site, fault: Callable[[], object]) -> None:
    """On each PBX a call is answered, and goes on after `a` has taken over everything; and a new one begins."""
    begin, end = answered()
    for pbx_id in hosts.players:
        hosts.play(begin, pbx_id)
    wait_until(lambda: [*hosts.stages().values()] == [ANSWERED[:3]] * 6, "all are answered")
    fault()
    hosts.await_shares(6, seconds=IN_TIME + BUSY_MACHINE)
    for pbx_id in hosts.players:
        hosts.play(end, pbx_id)
        hosts.play(whole_call(), pbx_id)
    wait_until(lambda: [*hosts.stages().values()] == [ANSWERED] * 12, "all stages, each once")


def whole_call() -> Recording:
    begin, end = answered()
    return freshen(replace(begin, events=(*begin.events, *end.events)), datetime.now(UTC))


def is_killed(hosts: Site) -> None:
    calls_across(hosts, hosts.listeners["b"].kill)
    assert hosts.strangers() == []


@postgresql
def test_a_killed_listener_is_replaced_and_no_stage_is_lost_or_repeated(hosts: Site) -> None:
    two(hosts)
    is_killed(hosts)


@postgresql
def test_the_proof_of_the_kill_finds_that_nobody_takes_over(hosts: Site) -> None:
    two(hosts, NO_TAKE_OVER)
    with pytest.raises(TimeoutError, match="shares"):
        is_killed(hosts)


def is_frozen_and_wakes(hosts: Site) -> None:
    calls_across(hosts, lambda: hosts.freeze("b"))
    hosts.thaw("b")
    hosts.await_shares(3, 3)
    assert [*hosts.stages().values()] == [ANSWERED] * 12
    assert hosts.strangers() == []


@postgresql
def test_a_frozen_listener_that_wakes_writes_nothing_of_what_others_have(hosts: Site) -> None:
    two(hosts)
    is_frozen_and_wakes(hosts)


@postgresql
def test_the_proof_of_the_frozen_one_finds_that_there_is_no_fence(hosts: Site) -> None:
    two(hosts, NO_FENCE)
    with pytest.raises(AssertionError):
        is_frozen_and_wakes(hosts)


def is_cut_off(hosts: Site, cable: Cable, patience: float = PATIENCE) -> None:
    """From the database. A call begins and ends at its PBX before anybody can have taken over."""
    lost = next(pbx_id for pbx_id, player in hosts.players.items() if hosts.host_of(pbx_id) == "b")

    def cut() -> None:
        cable.cut()
        hosts.play(whole_call(), lost)

    calls_across(hosts, cut)  # the call that only b knows is not there yet
    cable.mend()
    hosts.await_shares(3, 3)
    wait_until(lambda: [*hosts.stages().values()] == [ANSWERED] * 13, "all stages of 13 calls", patience)
    assert hosts.strangers() == []


@pytest.fixture
def cable(database_url: str) -> Iterator[Cable]:
    one = Cable(make_url(database_url).port or 5432)
    yield one
    one.close()


def by(cable: Cable, database_url: str) -> str:
    return make_url(database_url).set(port=cable.port).render_as_string(hide_password=False)


@postgresql
def test_a_listener_cut_off_from_the_database_is_replaced_and_what_only_it_heard_is_sent(
    hosts: Site, cable: Cable, database_url: str
) -> None:
    two(hosts, url=by(cable, database_url))
    is_cut_off(hosts, cable)


@postgresql
def test_the_proof_of_the_cut_finds_that_late_stages_are_lost(hosts: Site, cable: Cable, database_url: str) -> None:
    two(hosts, NOTHING_LATE, by(cable, database_url))
    with pytest.raises(TimeoutError, match="of 13 calls"):
        is_cut_off(hosts, cable, patience=20.0)


def keeps_its_pbxs(hosts: Site, fault: Callable[[], object]) -> None:
    before = {pbx_id: lease.token for pbx_id, lease in hosts.leases().items()}
    fault()
    begin = time.monotonic()
    while time.monotonic() < begin + LAPSE + 2:
        hosts.play(whole_call(), 1 + len(hosts.stages()) % 6)
        wait_until(lambda: all(stages == ANSWERED for stages in hosts.stages().values()), "all stages, each once")
    assert {pbx_id: lease.token for pbx_id, lease in hosts.leases().items()} == before
    assert hosts.strangers() == []


def end_heartbeats(hosts: Site) -> None:
    with hosts.database.read() as session:
        ended = session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'pbxhub heartbeat' AND datname = current_database()"
            )
        ).all()
    assert len(ended) == 2


@postgresql
def test_a_heartbeat_that_loses_its_connection_makes_another(hosts: Site) -> None:
    two(hosts)
    keeps_its_pbxs(hosts, lambda: end_heartbeats(hosts))


@postgresql
def test_the_proof_of_the_heartbeat_finds_that_it_stays_away(hosts: Site) -> None:
    two(hosts, NO_NEW_CONNECTION)
    hosts.listen("c")  # which goes on
    hosts.await_shares(2, 2, 2)
    with pytest.raises(AssertionError):
        keeps_its_pbxs(hosts, lambda: end_heartbeats(hosts))


@pytest.fixture
def hosts_of_a_cluster(cluster: Cluster, tmp_path: Path) -> Iterator[Site]:
    database = open_database(cluster.url("pbxhub"))
    migrate(database)
    with site(database, cluster.url("pbxhub"), tmp_path, pbxs=6) as one:
        yield one
    database.close()


def outage(cluster: Cluster) -> None:
    """For longer than a lease lasts."""
    cluster.stop()
    time.sleep(LAPSE + 1)
    cluster.start()


def test_after_an_outage_of_the_database_every_listener_still_has_its_pbxs(
    hosts_of_a_cluster: Site, cluster: Cluster
) -> None:
    two(hosts_of_a_cluster)
    keeps_its_pbxs(hosts_of_a_cluster, lambda: outage(cluster))


def test_the_proof_of_the_outage_finds_that_the_first_to_return_takes_all(
    hosts_of_a_cluster: Site, cluster: Cluster
) -> None:
    two(hosts_of_a_cluster, HASTY_HEIR)
    with pytest.raises((AssertionError, TimeoutError)):  # a call that is played while its PBX moves may be missed
        keeps_its_pbxs_each_time(hosts_of_a_cluster, cluster)


def keeps_its_pbxs_each_time(hosts: Site, cluster: Cluster) -> None:
    """In four outages: on a busy machine the hosts may return in the same moment."""
    for _ in range(4):
        keeps_its_pbxs(hosts, lambda: outage(cluster))
