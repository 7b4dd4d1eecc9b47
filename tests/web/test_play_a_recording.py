"""A recording plays by its own link, from the folder of the PBX that reported it, and from nowhere else."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings
from pbxhub.store.accounts import COMMON_FOLDER, AuditEntry, Pbx, Project
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.vault import Vault
from pbxhub.web.pages.recordings import recording_link
from pbxhub.wsgi.current import hub, now
from tests.support.people import People
from tests.support.shared_app import shared_app


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """A common folder; in it the folder of the other project's PBX; a secret beside it, and links to both."""
    folder = tmp_path / "monitor"
    (folder / "theirs").mkdir(parents=True)
    (folder / "a.wav").write_bytes(b"RIFF....")
    (folder / "theirs" / "b.wav").write_bytes(b"theirs")
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    (folder / "inner.wav").symlink_to(folder / "theirs" / "b.wav")
    return folder


@pytest.fixture
def app(settings: Settings, database: Database, spool: Path) -> Flask:
    settings = replace(settings, recordings=spool)
    return shared_app(settings, open_context(settings, database, Vault(settings.secret_key)))


class Player(FlaskClient):
    """Takes every answer wholly: the file it comes from is closed then."""

    def open(self, *request: Any, **options: Any) -> TestResponse:
        return super().open(*request, buffered=True, **options)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return Player(app, app.response_class)


@pytest.fixture
def pbxs(database: Database, people: People, spool: Path) -> dict[str, int]:
    """Ours records into the common folder, theirs into one of its own inside it, the third has none."""
    folders = {
        "ours": (people.project, COMMON_FOLDER),
        "theirs": (people.other, str(spool / "theirs")),
        "none": (people.other, ""),
    }
    with database.write() as session:
        rows = {
            name: Pbx(project_id=project, name=name, host="h", username="u", secret_sealed="", recordings=folder,
                      created_on=now())
            for name, (project, folder) in folders.items()
        }  # fmt: skip
        session.add_all(rows.values())
        session.flush()
        return {name: row.id for name, row in rows.items()}


@pytest.fixture
def recorded(app: Flask, database: Database, people: People, pbxs: dict[str, int]) -> Callable[..., Call]:
    def record(name: str, pbx: str = "ours") -> Call:
        call = Call(id=new_id(), project_id=people.project, pbx_id=pbxs.get(pbx), linkedid=str(new_id()),
                    direction="incoming", caller="1", dst="2", started_on=now(), ended_on=now(),
                    data={"recording_file": name})  # fmt: skip
        with database.write() as session:
            session.add(call)
        return call

    return record


def link(app: Flask, call: Call, days: int = 7) -> str:
    with app.app_context(), database_of(app).read() as session:
        series = session.get_one(Project, call.project_id).recording_link_series
        return recording_link(call, Project(recording_link_days=days, recording_link_series=series))


def database_of(app: Flask) -> Database:
    with app.app_context():
        return hub().database


def link_of_0_1_0(settings: Settings, call: Call) -> str:
    expires = int(now().timestamp()) + 3600
    key = Vault(settings.secret_key).derive("recording links")
    digest = hmac.digest(key, f"{call.id}:{expires}".encode(), hashlib.sha256)
    return f"/recordings/{call.id}?expires={expires}&signature={base64.urlsafe_b64encode(digest[:18]).decode()}"


def test_a_recording_plays_by_its_own_link_only(
    app: Flask, client: FlaskClient, spool: Path, recorded: Callable[..., Call]
) -> None:
    good = link(app, recorded(str(spool / "a.wav")))
    assert client.get(good).data == b"RIFF...."
    assert client.get(good, headers={"Range": "bytes=0-3"}).status_code == 206
    assert client.get(good[:-1] + ("y" if good[-1] == "x" else "x")).status_code == 404
    assert client.get(good.replace("expires=", "expires=9")).status_code == 404
    assert client.get(link(app, recorded("a.wav"))).data == b"RIFF...."
    other = recorded("a.wav")
    assert client.get(good.replace(good.split("?")[0], f"/recordings/{other.id}")).status_code == 404


@pytest.mark.parametrize("old", [False, True], ids=["new link", "link of 0.1.0"])
@pytest.mark.parametrize(
    "name",
    ["../secret.wav", "{tmp}/secret.wav", "link.wav", "missing.wav", "/etc/passwd", "", "theirs/b.wav", "inner.wav",
     "{tmp}/monitor/theirs/b.wav", "./theirs/../theirs/b.wav", "x" * 5000],
)  # fmt: skip
def test_nothing_outside_the_folder_of_the_pbx_plays(
    app: Flask, settings: Settings, client: FlaskClient, tmp_path: Path, recorded: Callable[..., Call], name: str,
    old: bool,
) -> None:  # fmt: skip
    call = recorded(name.replace("{tmp}", str(tmp_path)))
    assert client.get(link_of_0_1_0(settings, call) if old else link(app, call)).status_code == 404


@pytest.mark.parametrize("old", [False, True], ids=["new link", "link of 0.1.0"])
def test_a_pbx_plays_its_own_folder_and_not_the_common_one(
    app: Flask, settings: Settings, client: FlaskClient, spool: Path, recorded: Callable[..., Call], old: bool
) -> None:
    """The reproduced attack: an Asterisk of one's own reports the name of a file of somebody else's."""

    def get(name: str, pbx: str) -> tuple[int, bytes]:
        call = recorded(name, pbx)
        answer = client.get(link_of_0_1_0(settings, call) if old else link(app, call))
        return answer.status_code, answer.data if answer.status_code == 200 else b""

    assert get("b.wav", "theirs") == (200, b"theirs")
    assert get(str(spool / "theirs" / "b.wav"), "theirs") == (200, b"theirs")
    for pbx in ("theirs", "none", "a PBX that is gone"):
        assert get(str(spool / "a.wav"), pbx) == (404, b"")
        assert get("../a.wav", pbx) == (404, b"")


@pytest.mark.parametrize(("body", "status"), [(b"RIFF\0\0\0\0", 200), (b"<html>Sign in</html>", 404), (b"", 404)])
def test_a_page_or_nothing_that_the_pbx_serves_does_not_play(
    settings: Settings, database: Database, recorded: Callable[..., Call], body: bytes, status: int
) -> None:
    settings = replace(settings, allowed_networks=(ip_network("127.0.0.0/8"),))
    app = shared_app(settings, open_context(settings, database, Vault(settings.secret_key)))
    with Receiver(lambda _: Reply(200, body, (("Content-Type", "text/html"),))) as pbx:
        call = recorded(f"{pbx.url}/call.wav")
        assert Player(app, app.response_class).get(link(app, call)).status_code == status
        assert pbx.count == 1


def test_a_link_is_for_the_file_it_was_made_for(
    app: Flask, client: FlaskClient, database: Database, people: People, spool: Path, recorded: Callable[..., Call]
) -> None:
    """The PBX reports another file later, after a transfer: the earlier stage's link plays the earlier one, and no link
    plays what nobody signed."""
    (spool / "late.wav").write_bytes(b"late")
    (spool / "third.wav").write_bytes(b"third")
    call = recorded("a.wav")
    early = link(app, call)
    with database.write() as session:
        session.add(StageEvent(id=new_id(), project_id=people.project, call_id=call.id, stage="incoming.pickup", key="",
                               ordinal=1, created_on=now(), data={"recording_file": "a.wav"}))  # fmt: skip
        call = session.get_one(Call, call.id)
        call.data = {"recording_file": "late.wav"}
    late = link(app, call)
    assert client.get(early).data == b"RIFF...."
    assert client.get(late).data == b"late"
    with database.write() as session:
        session.get_one(Call, call.id).data = {"recording_file": "third.wav"}
    assert client.get(late).status_code == 404


def test_a_link_is_valid_as_long_as_its_call_is_kept(
    app: Flask, client: FlaskClient, database: Database, recorded: Callable[..., Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = recorded("a.wav")
    good = link(app, call, days=0)
    assert "expires" not in good
    monkeypatch.setattr("pbxhub.web.pages.recordings.now", lambda: now() + timedelta(days=300))
    assert client.get(good).data == b"RIFF...."
    assert client.get(link(app, call, days=7).replace("&", "&x=")).status_code == 404
    with database.write() as session:
        session.delete(session.get_one(Call, call.id))
    assert client.get(good).status_code == 404


def test_a_limit_that_is_set_later_ends_links_without_one(
    app: Flask, client: FlaskClient, database: Database, people: People, recorded: Callable[..., Call],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    call = recorded("a.wav")
    unlimited, of_thirty = link(app, call, days=0), link(app, call, days=30)
    with database.write() as session:
        session.get_one(Project, people.project).recording_link_days = 3
    assert client.get(unlimited).status_code == 200
    monkeypatch.setattr("pbxhub.web.pages.recordings.now", lambda: now() + timedelta(days=4))
    assert client.get(unlimited).status_code == 404
    assert client.get(of_thirty).status_code == 200
    with database.write() as session:
        session.get_one(Call, call.id).ended_on = None
    assert client.get(unlimited).status_code == 200, "the call is not over"


def test_a_link_with_a_limit_ends(
    app: Flask, client: FlaskClient, recorded: Callable[..., Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = link(app, recorded("a.wav"), days=2)
    begin = now()
    monkeypatch.setattr("pbxhub.web.pages.recordings.now", lambda: begin + timedelta(days=1.9))
    assert client.get(good).status_code == 200
    assert client.get(good.replace("expires", "x")).status_code == 404
    monkeypatch.setattr("pbxhub.web.pages.recordings.now", lambda: begin + timedelta(days=2.1))
    assert client.get(good).status_code == 404


def test_an_owner_sets_the_lifetime_and_revokes_all_links(
    app: Flask, settings: Settings, client: FlaskClient, database: Database, people: People,
    recorded: Callable[..., Call], signed_in: Callable[[str], FlaskClient],
) -> None:  # fmt: skip
    call = recorded("a.wav")
    old = [link(app, call, days=0), link(app, call), link_of_0_1_0(settings, call)]
    assert {client.get(one).status_code for one in old} == {200}
    owner, page = signed_in("owner"), f"/projects/{people.project}/recording-links"
    assert b"out of range" in owner.post(page, data={"recording_link_days": "-1"}).data
    assert owner.post(page, data={"recording_link_days": "3"}).status_code == 302
    assert owner.post(f"{page}/revoke").status_code == 302
    assert {client.get(one).status_code for one in old} == {404}
    with database.read() as session:
        project = session.get_one(Project, people.project)
        assert (project.recording_link_days, project.recording_link_series) == (3, 1)
        assert session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()[-2:] == [
            "project changed", "recording links revoked"
        ]  # fmt: skip
    assert client.get(link(app, call)).status_code == 200
    for stranger in ("editor", "stranger"):
        assert signed_in(stranger).post(f"{page}/revoke").status_code in (403, 404)
