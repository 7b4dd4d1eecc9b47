"""Somebody sets up a webhook that sends recordings: the preview, the test and the history show what is sent, without
its bytes."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pbxhub.client import Client
from pbxhub.store.accounts import Pbx
from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.testing.receivers.receiver import Received, Receiver
from tests.support.served import Served

NOW = datetime(2026, 5, 14, tzinfo=UTC)
URL = "https://crm.example.com/calls"
SOUND = b"RIFF" + bytes(999_996)
DRAFT: dict[str, Any] = {
    "name": "Recordings", "stage": "call.recording",
    "spec": {"request": {
        "format": "multipart", "file": "iVBORw==", "file_name": "logo.png",
        "parameters": [{"name": "audio", "type": "recording"}, {"name": "logo", "type": "file"},
                       {"name": "password", "value": "s3cret-of-the-crm"}],
    }},
}  # fmt: skip


@pytest.fixture
def call(hub: Served, tmp_path: Path) -> str:
    """A call whose recording is on this host."""
    (tmp_path / "call.wav").write_bytes(SOUND)
    long_ago = time.time() - 60
    os.utime(tmp_path / "call.wav", (long_ago, long_ago))
    own: dict[str, Any] = {"project_id": hub.project_id}
    moment, data = datetime.now(UTC) - timedelta(seconds=30), {"recording_file": "call.wav", "caller": "1"}
    with hub.database.write() as session:
        session.get_one(Pbx, hub.pbx_id).recordings = str(tmp_path)
        row = Call(id=new_id(), **own, pbx_id=hub.pbx_id, linkedid="1.1", direction="incoming", caller="1", dst="2",
                   started_on=moment, ended_on=moment, data=data)  # fmt: skip
        session.add(row)
        session.flush()
        session.add(StageEvent(id=new_id(), **own, call_id=row.id, stage="call.recording", key="", ordinal=1,
                               created_on=moment, data=data))  # fmt: skip
        return str(row.id)


def draft(url: str) -> dict[str, Any]:
    spec = {"request": {**DRAFT["spec"]["request"], "url": url}}
    return {**DRAFT, "spec": spec}


@pytest.fixture
def program(hub: Served) -> Client:
    return hub.client()


def test_the_preview_names_the_files_and_their_sizes(program: Client, call: str) -> None:
    given = {name: value for name, value in draft(URL).items() if name != "name"}
    shown = program.add("/webhooks/preview", {**given, "sample": call}).data
    assert "(file: call.wav, 1.0 MB)" in shown["body"]
    assert "(file: logo.png, 4 bytes)" in shown["body"]
    assert "cat ./call.wav" in shown["curl"]
    made = program.add("/webhooks/preview", {**given, "sample": "answered"}).data
    assert "(file: 1778754610.42.wav)" in made["body"]


def contents(request: Received) -> list[bytes]:
    boundary = (request.header("content-type") or "").partition("boundary=")[2].encode()
    return [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in request.body.split(b"--" + boundary)[1:-1]]


def test_a_test_sends_the_recording_of_the_call_or_silence(program: Client, call: str) -> None:
    with Receiver() as receiver:
        made = program.add("/webhooks", draft(receiver.url))
        assert program.add(f"/webhooks/{made.id}/test", {"sample": call})["success"] is True
        assert program.add(f"/webhooks/{made.id}/test", {"sample": "answered"})["success"] is True
        real, silent = (contents(request)[0] for request in receiver.requests)
    assert real == SOUND
    assert (silent[:4], silent[8:12], len(silent)) == (b"RIFF", b"WAVE", 16044)


def test_a_test_says_when_the_recording_is_gone(program: Client, call: str, tmp_path: Path) -> None:
    (tmp_path / "call.wav").unlink()
    made = program.add("/webhooks", draft(URL))
    said = program.add(f"/webhooks/{made.id}/test", {"sample": call}).data
    assert (said["success"], said["outcome"]) == (False, "file_gone")
    assert said["message"].startswith("Not sent: the recording of the call is not where the PBX has put it.")


def test_an_exported_file_brings_the_format_and_its_file_back(program: Client) -> None:
    program.add("/webhooks", draft(URL))
    exported = program.get("/webhooks/export").data
    exported["webhooks"][0]["name"] = "Recordings again"
    program.add("/webhooks/import", exported)
    specs = [row["spec"]["request"] for row in program.get("/webhooks").data["items"]]
    assert len(specs) == 2
    assert specs[0] == specs[1]
    assert specs[1]["file_name"] == "logo.png"


def test_the_history_has_names_and_no_bytes_and_hides_what_is_secret(hub: Served, program: Client, call: str) -> None:
    made = program.add("/webhooks", draft(URL))
    body = (
        b'--x\r\nContent-Disposition: form-data; name="password"\r\n\r\ns3cret-of-the-crm\r\n--x\r\n\r\n\r\n--x--\r\n'
    )
    at = body.index(b"\r\n--x--")
    own: dict[str, Any] = {"project_id": hub.project_id, "webhook_id": made.id, "webhook_revision": 1}
    with hub.database.write() as session:
        row = Delivery(id=new_id(), **own, call_id=UUID(call), state="delivered", lane=1, due_at=NOW, method="POST",
                       url=URL, headers=[], body=body, files=[[at, "call.wav", "raw", 0]], created_on=NOW)  # fmt: skip
        session.add(row)
        session.flush()
        session.add(Attempt(delivery_id=row.id, number=1, started_on=NOW, finished_on=NOW, outcome="ok"))
        path = f"/deliveries/{row.id}/attempts"
    (shown,) = program.get(path).data["items"]
    assert shown["request_body"] == body[:at].decode() + "(file: call.wav, 1.0 MB)" + body[at:].decode()
    (hidden,) = hub.client("read").get(path).data["items"]
    assert "s3cret-of-the-crm" not in hidden["request_body"]
    assert "(file: call.wav, 1.0 MB)" in hidden["request_body"]


def test_who_may_not_change_webhooks_sees_the_preview_without_secrets(hub: Served, program: Client, call: str) -> None:
    made = program.add("/webhooks", draft(URL))
    shown = hub.client("read").add(f"/webhooks/{made.id}/preview", {"sample": call}).data
    assert "s3cret-of-the-crm" not in str(shown)
    assert "(file: call.wav" in shown["body"]
