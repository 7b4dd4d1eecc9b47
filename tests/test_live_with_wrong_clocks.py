"""Hosts whose clocks are half a minute ahead and behind go by the database's time.

Each proof has a twin in which they go by their own clocks: it must fail.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

import pbxhub.store.clock as clock_module
from pbxhub.account.access import HubAccess
from pbxhub.store.clock import following, unix_now, utc_now
from pbxhub.store.delivery_rows import DELIVERED, Delivery
from pbxhub.store.ids import first_id_at, new_id
from pbxhub.store.session import Database, open_database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.hub.postgres import Cluster
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.wsgi.current import now
from tests.support.hub import answered, pbx_of
from tests.support.listening_hosts import Site, site
from tests.support.outbox_world import spec
from tests.support.waiting import wait_until

STAGES = ("incoming.before", "incoming.forward", "incoming.pickup")
AHEAD, BEHIND = 30, -30
SOON = 25.0  # seconds: less than any of these clocks is wrong
WRONG = """
import datetime, time, types, pbxhub.store.clock as it
real = it.datetime
class Wrong(real):
    @classmethod
    def now(cls, zone=None): return real.now(zone) + datetime.timedelta(seconds=SECONDS)
it.datetime = Wrong
it.time = types.SimpleNamespace(time_ns=lambda: time.time_ns() + SECONDS * 10**9,
                                clock_gettime_ns=time.clock_gettime_ns, CLOCK_BOOTTIME=time.CLOCK_BOOTTIME)
"""
BY_ITS_OWN = "import contextlib, pbxhub.running as it; it.following = lambda _: contextlib.nullcontext()\n"
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def hosts(database: Database, database_url: str, tmp_path: Path) -> Iterator[Site]:
    with site(database, database_url, tmp_path, pbxs=1) as one:
        yield one


def start(hosts: Site, name: str, command: str, seconds: int, plant: str) -> None:
    bug = WRONG.replace("SECONDS", str(seconds)) + plant
    hosts.listen(name, f"exec({bug!r})", command=command, PBXHUB_LISTEN_SENDS="no")


def add_webhooks(hosts: Site, url: str) -> None:
    with hosts.database.write() as session:
        project_id = pbx_of(hosts.database, 1).project_id
        for place, stage in enumerate(STAGES):
            created_on = datetime.now(UTC)
            session.add(Webhook(project_id=project_id, name=stage, stage=stage, spec=spec(url), created_on=created_on,
                                position=place))  # fmt: skip
        touch_webhooks(session, project_id)


def send_calls(hosts: Site, plant: str, listener: int) -> Counter[str]:
    """A call is heard by a listener whose clock is wrong by that much. A host that is behind sends its stages, to a
    receiver that takes its time, and stands still. One that is ahead must leave them alone, while it sends those of
    another call. How often each request came."""
    with Receiver(lambda _: Reply(delay=6.0)) as receiver:
        add_webhooks(hosts, receiver.url)
        start(hosts, "a", "listen", listener, plant)
        start(hosts, "behind", "work", BEHIND, plant)
        wait_until(lambda: hosts.players[1].listeners == 1, "the listener is logged in")
        hosts.play(answered()[0], 1)
        receiver.wait_for(len(STAGES), SOON)
        start(hosts, "ahead", "work", AHEAD, plant)
        hosts.freeze("behind")
        hosts.play(answered()[0], 1)
        receiver.wait_for(2 * len(STAGES))
        hosts.thaw("behind")
        wait_until(lambda: deliveries(hosts) == Counter({DELIVERED: 2 * len(STAGES)}), "all are recorded")
        return Counter(str(request.header("webhook-id")) for request in receiver.requests)


def deliveries(hosts: Site) -> Counter[str]:
    with hosts.database.read() as session:
        return Counter(session.scalars(select(Delivery.state)))


def be_wrong(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Wrong":
            return cls.fromtimestamp(time.time() + seconds, tz)

    monkeypatch.setattr(clock_module, "datetime", Wrong)
    monkeypatch.setattr(
        clock_module, "time",
        SimpleNamespace(time_ns=lambda: int((time.time() + seconds) * 1e9), clock_gettime_ns=time.clock_gettime_ns,
                        CLOCK_BOOTTIME=time.CLOCK_BOOTTIME),
    )  # fmt: skip


@postgresql
@pytest.mark.parametrize("follows", [True, False])
def test_whatever_a_host_dates_it_dates_by_the_time_of_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch, follows: bool
) -> None:
    be_wrong(monkeypatch, 3600)
    with following(database) if follows else nullcontext():
        with database.read() as session:
            there = session.execute(select(func.clock_timestamp())).scalar_one()
        access = HubAccess(None, None)  # type: ignore[arg-type]
        times = [utc_now(), now(), access.now, datetime.fromtimestamp(unix_now(), UTC)]
        new = new_id()
    minute = timedelta(minutes=1)
    right = [*(abs(each - there) < minute for each in times), new < first_id_at(there + minute)]
    assert right == [follows] * 5


def test_on_sqlite_the_clock_of_the_host_is_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    be_wrong(monkeypatch, 3600)
    database = open_database(f"sqlite:///{tmp_path / 'hub.db'}")
    with following(database):
        assert utc_now() - datetime.now(UTC) > timedelta(minutes=59)


def test_while_the_database_is_away_the_time_goes_on_and_a_host_that_starts_then_goes_by_its_own(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(cluster.url("postgres"))
    with following(database):
        be_wrong(monkeypatch, 3600)  # somebody sets the clock of the host
        cluster.stop()
        clock_module._follow(database)
        assert utc_now() - datetime.now(UTC) < timedelta(minutes=1)
    with following(database):
        assert utc_now() - datetime.now(UTC) > timedelta(minutes=59)
        cluster.start()
        clock_module._follow(database)
        assert utc_now() - datetime.now(UTC) < timedelta(minutes=1)
    database.close()


@postgresql
def test_the_log_says_when_the_clock_of_a_host_becomes_wrong_and_when_it_is_right_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as logged, following(database):
        for seconds in (3600, 3600, -3600, 0, 0, -3600):
            be_wrong(monkeypatch, seconds)
            clock_module._follow(database)
    assert [(line["log_level"], round(line["seconds"], -2)) for line in logged] == [
        ("warning", 3600), ("info", 0), ("warning", -3600),
    ]  # fmt: skip


@pytest.mark.slow
@postgresql
@pytest.mark.parametrize("listener", [AHEAD, BEHIND])
def test_clocks_that_differ_by_a_minute_send_nothing_twice_and_nothing_late(hosts: Site, listener: int) -> None:
    assert set(send_calls(hosts, "pass", listener).values()) == {1}


@pytest.mark.slow
@postgresql
def test_the_proof_of_the_clocks_finds_requests_that_are_sent_twice(hosts: Site) -> None:
    assert max(send_calls(hosts, BY_ITS_OWN, BEHIND).values()) > 1


@pytest.mark.slow
@postgresql
def test_the_proof_of_the_clocks_finds_requests_that_come_late(hosts: Site) -> None:
    with pytest.raises(TimeoutError, match="requests arrived"):
        send_calls(hosts, BY_ITS_OWN, AHEAD)
