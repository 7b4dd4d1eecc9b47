"""A PBX or a part of the hub is lost and comes back: notices, /health/parts, metrics and alert rules tell of it."""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import select, update

from pbxhub.delivery.background_jobs import BackgroundJobs
from pbxhub.delivery.heartbeat import beating
from pbxhub.delivery.pbx_notices import BACK_AFTER, LOST_AFTER, PbxWatch
from pbxhub.delivery.watch_metrics import WatchMetrics
from pbxhub.notices.send_notices import send_due
from pbxhub.settings import MailServer
from pbxhub.store.accounts import Pbx
from pbxhub.store.notices import Notice, NoticeTarget
from pbxhub.store.parts import beat, parts_seen
from pbxhub.store.session import Database
from pbxhub.testing.receivers.receiver import Receiver
from tests.support.outbox_world import KEPT, World, at, context_of
from tests.support.post_office import Box, serving_mail
from tests.support.sending import sending
from tests.support.waiting import wait_until

DOCS = Path(__file__).parents[1] / "docs" / "monitoring"
LOST, BACK = LOST_AFTER.total_seconds(), BACK_AFTER.total_seconds()


@pytest.fixture
def world(database: Database) -> World:
    found = World(database)
    see(found, "connected", 0, asterisk_version="22.5.0")
    return found


@pytest.fixture
def mailbox() -> Iterator[tuple[Box, MailServer]]:
    with serving_mail() as served:
        yield served


def see(world: World, state: str, since: float, **more: object) -> None:
    """What the listener writes on the row."""
    code, detail = ("closed", "") if state == "lost" else ("", "")
    values = {
        "state": state,
        "state_code": code,
        "state_detail": detail,
        "state_since": at(since),
        "seen_on": at(since),
    }
    with world.database.write() as session:
        session.execute(update(Pbx).where(Pbx.id == world.pbx_id).values({**values, **more}))


def look(world: World, *watches: PbxWatch, begin: float, end: float) -> None:
    """Every five seconds; the listener writes as well."""
    for second in range(int(begin), int(end) + 1, 5):
        with world.database.write() as session:
            session.execute(update(Pbx).where(Pbx.id == world.pbx_id).values(seen_on=at(second)))
        for watch in watches:
            watch.look(at(second))


def notices(database: Database) -> list[tuple[str, str]]:
    with database.read() as session:
        return [(row.kind, row.text) for row in session.scalars(select(Notice).order_by(Notice.id))]


@pytest.mark.slow
def test_a_lost_pbx_and_its_return_are_told_once_by_two_workers(world: World) -> None:
    here, there = PbxWatch(world.database), PbxWatch(world.database)
    see(world, "lost", 10)
    look(world, here, there, begin=10, end=10 + LOST - 5)
    assert notices(world.database) == []
    look(world, here, there, begin=10 + LOST, end=400)
    [(kind, text)] = notices(world.database)
    assert kind == "pbx_lost"
    assert text == (
        "PBX office is lost: the hub has not heard its calls since 2026-05-14 12:00 UTC. "
        "The PBX closed the connection. The hub reconnects automatically."
    )
    see(world, "connected", 401)
    look(world, here, there, begin=401, end=401 + BACK - 5)
    assert len(notices(world.database)) == 1
    look(world, here, there, begin=401 + BACK, end=600)
    assert notices(world.database)[1:] == [
        ("pbx_back", "PBX office is back: the hub hears its calls again after 7 minutes.")
    ]


def test_a_blip_is_not_told(world: World) -> None:
    watch = PbxWatch(world.database)
    for blip in range(3):
        see(world, "lost", 200 * blip)
        look(world, watch, begin=200 * blip, end=200 * blip + LOST - 10)
        see(world, "connected", 200 * blip + LOST - 5)
        look(world, watch, begin=200 * blip + LOST - 5, end=200 * blip + 195)
    assert notices(world.database) == []


def test_after_a_long_stop_the_listener_has_time_to_connect(world: World) -> None:
    see(world, "lost", 10, state_code="stopped")
    started = PbxWatch(world.database)
    look(world, started, begin=7200, end=7200 + LOST - 5)
    see(world, "connected", 7200 + LOST - 5)
    look(world, started, begin=7200 + LOST - 5, end=7500)
    assert notices(world.database) == []


def test_a_restart_in_between_tells_neither_twice_nor_never(world: World) -> None:
    see(world, "lost", 10)
    look(world, PbxWatch(world.database), begin=10, end=200)
    look(world, PbxWatch(world.database), begin=205, end=600)
    assert [kind for kind, _ in notices(world.database)] == ["pbx_lost"]
    see(world, "connected", 700)
    look(world, PbxWatch(world.database), begin=700, end=800)
    assert [kind for kind, _ in notices(world.database)] == ["pbx_lost", "pbx_back"]


def test_a_listener_that_is_gone_is_named_as_the_reason(world: World) -> None:
    watch = PbxWatch(world.database)
    for second in range(0, 400, 5):
        watch.look(at(second))
    [(_, text)] = notices(world.database)
    assert text.endswith("No listener of the hub is running. Start it: pbxhub run, or pbxhub listen.")


def test_a_pbx_that_never_worked_or_is_switched_off_tells_nothing(world: World) -> None:
    watch = PbxWatch(world.database)
    see(world, "refused", 10, asterisk_version="")
    look(world, watch, begin=10, end=400)
    see(world, "lost", 400, asterisk_version="22.5.0")
    look(world, watch, begin=400, end=600)
    see(world, "lost", 600, enabled=False)
    look(world, watch, begin=600, end=700)
    see(world, "connected", 700, enabled=True)
    look(world, watch, begin=700, end=800)
    assert [kind for kind, _ in notices(world.database)] == ["pbx_lost"]


def test_the_notice_goes_by_mail_and_by_http(world: World, mailbox: tuple[Box, MailServer]) -> None:
    box, server = mailbox
    see(world, "lost", 10)
    look(world, PbxWatch(world.database), begin=10, end=200)
    with Receiver() as receiver, sending(receiver) as sender:
        with world.database.write() as session:
            for address in ("anna@example.com", receiver.url):
                session.add(NoticeTarget(project_id=world.project_id, address=address))
        assert send_due(world.database, sender, server, at(300)) == 1
        (request,) = receiver.requests
    assert b'"type": "pbx.lost"' in request.body
    assert f'"webhook_id": null, "pbx_id": {world.pbx_id}'.encode() in request.body
    assert box.mails[0]["Subject"].startswith("PBX office is lost")


def test_a_part_that_hangs_keeps_its_old_time_while_the_others_go_on(database: Database) -> None:
    stuck = threading.Event()
    with beating(context_of(database), lambda: {"worker": True, "resends": not stuck.is_set()}):
        wait_until(lambda: bool(seen(database)))
    before = seen(database)
    stuck.set()
    with beating(context_of(database), lambda: {"worker": True, "resends": not stuck.is_set()}):
        wait_until(lambda: seen(database)["worker"] > before["worker"])
    assert seen(database)["resends"] == before["resends"]


def seen(database: Database) -> dict:  # type: ignore[type-arg]
    with database.read() as session:
        return parts_seen(session)


def test_every_background_job_reports_itself(database: Database) -> None:
    with sending() as sender:
        jobs = BackgroundJobs(context_of(database), sender, KEPT)
        assert set(jobs.works()) == {
            "guard", "resends", "notices", "pbx-watch", "left-behind", "retention", "persons", "tokens", "answers",
        }  # fmt: skip
        assert all(jobs.works().values())
        explained = (DOCS.parent / "operations" / "watch.md").read_text()
        assert [name for name in jobs.works() if f"| `{name}` |" not in explained] == []
        jobs._hangs_at["left-behind"] = time.monotonic() - 1
        assert [name for name, good in jobs.works().items() if not good] == ["left-behind"]


def test_the_metrics_say_which_pbx_is_connected_and_how_long_it_is_silent(world: World) -> None:
    registry = CollectorRegistry()
    context = context_of(world.database)
    registry.register(WatchMetrics(context))
    now = context.clock()
    see(world, "connected", 0, seen_on=now, last_event_on=now - timedelta(seconds=90))
    with world.database.write() as session:
        beat(session, ["worker"], now - timedelta(seconds=30))
    text = generate_latest(registry).decode()
    label = f'{{id="{world.pbx_id}",pbx="office",project="Flower shop"}}'
    assert f"pbxhub_pbx_connected{label} 1.0" in text
    assert f"pbxhub_calls_live{label} 0.0" in text
    assert 90 <= float(re.search(r"pbxhub_pbx_last_event_seconds{.*} (\S+)", text)[1]) < 150
    assert 30 <= float(re.search(r'pbxhub_part_seen_seconds{part="worker"} (\S+)', text)[1]) < 90
    see(world, "refused", 0)
    assert f"pbxhub_pbx_connected{label} 0.0" in generate_latest(registry).decode()


def test_the_alert_rules_fire_when_they_should() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "tests/packages.sh installs it with the Debian package prometheus"
    tests = Path(__file__).parent / "monitoring" / "alerts_test.yml"
    done = subprocess.run([promtool, "test", "rules", str(tests)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = (DOCS / "alerts.yml").read_text()
    tried = tests.read_text()
    assert [name for name in re.findall(r"alert: (\w+)", rules) if f"alertname: {name}" not in tried] == []
