"""A monitor asks how the hub is. A stranger learns whether the pages work, and nothing about PBXs and parts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from flask import Flask
from sqlalchemy import select

from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings
from pbxhub.store.accounts import Pbx
from pbxhub.store.parts import beat
from pbxhub.store.session import Database
from pbxhub.vault import Vault
from pbxhub.web import create_app
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People

TOKEN = "t0ken-of-the-monitor"
PARTS = ("agi", "listener", "notices", "worker")


def everything_works(database: Database) -> None:
    with database.write() as session:
        beat(session, PARTS, now())
        for row in session.scalars(select(Pbx)):
            row.state, row.state_since, row.seen_on = "connected", now(), now()


def test_strangers_and_members_learn_no_names(
    things: dict[str, object], signed_in: Callable[[str], Browser], browser: Callable[[], Browser]
) -> None:
    assert set(browser().get("/health").json) == {"status", "database", "schema"}
    for visitor in (browser(), signed_in("owner"), signed_in("stranger")):
        assert visitor.get("/health/parts").status_code == 404


def test_an_operator_reads_what_is_lost_and_since_when(
    database: Database, things: dict[str, object], signed_in: Callable[[str], Browser]
) -> None:
    everything_works(database)
    operator = signed_in("operator")
    answer = operator.get("/health/parts")
    assert (answer.status_code, answer.json["status"]) == (200, "ok"), answer.json
    assert {part["status"] for part in answer.json["parts"].values()} == {"ok"}
    gone = now() - timedelta(minutes=5)
    with database.write() as session:
        beat(session, ["notices"], gone)
        pbx = session.scalars(select(Pbx)).first()
        pbx.state, pbx.state_code, pbx.state_since = "lost", "closed", gone
        name = pbx.name
    answer = operator.get("/health/parts")
    assert (answer.status_code, answer.json["status"]) == (503, "degraded")
    assert answer.json["parts"]["notices"] == {"status": "lost", "seen_on": gone.isoformat()}
    [lost] = [pbx for pbx in answer.json["pbxs"] if pbx["status"] == "lost"]
    assert (lost["name"], lost["lost_since"]) == (name, gone.isoformat())
    assert "reconnects automatically" in lost["reason"]
    assert operator.get("/health").status_code == 200, "a load balancer must not take the pages away"


def test_a_monitor_has_a_token(database: Database, settings: Settings, people: People) -> None:
    with_token = replace(settings, health_token=TOKEN)
    app: Flask = create_app(with_token, open_context(with_token, database, Vault(settings.secret_key)))
    monitor = app.test_client()
    assert monitor.get("/health/parts", headers={"Authorization": "Bearer another token"}).status_code == 404
    answer = monitor.get("/health/parts", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 503
    assert answer.json["parts"] == {name: {"status": "lost", "seen_on": None} for name in ("listener", "worker")}
