"""Drives a ready-made integration with recorded calls: tracker, publish, worker, real HTTP, CRM."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pbxhub.calls.replay import read
from pbxhub.calls.stages import OPTIONAL_STAGES
from pbxhub.calls.tracker import Tracker
from pbxhub.delivery.links import Links
from pbxhub.delivery.outbox import publish
from pbxhub.store.accounts import COMMON_FOLDER, Employee, Pbx
from pbxhub.store.api import Attributes
from pbxhub.store.clock import utc_now
from pbxhub.store.connections import connection_named
from pbxhub.store.delivery_rows import FAILED, PENDING, WAITING, Delivery
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.testing.receivers.receiver import Received, Receiver
from pbxhub.webhooks.connection_presets import find_preset
from pbxhub.webhooks.gallery import fill, find
from pbxhub.webhooks.spec import WebhookSpec
from tests.support.connections import connect
from tests.support.crm import TOKEN, Crm
from tests.support.ordering import order
from tests.support.outbox_world import NOON, VAULT, World, context_of
from tests.support.recordings import scenarios
from tests.support.waiting import wait_until
from tests.support.working import working

_ORIGIN = re.compile(r"https://[^/?]+")
_SIGNED = re.compile(r"/recordings/[^\"\s]+|%2Frecordings%2F[^&\s]+")
_NOW = re.compile(r"ts=\d+&sign=[0-9a-f]{32}")
_DELIVERY = re.compile(r'"id":"[0-9a-f]{8}-[^"]*"')
CALLER = "79161234567"
VISITOR = {"client_id": "1391543214.1778750000", "ga_session_id": "1778753990", "utm_source": "google"}
"""What is known of the number that calls in the traces."""
EMPLOYEES = {"101": "11", "102": "12", "103": "13"}
"""Extension -> the user's id in the CRM."""


SOUND = b"RIFF\x04\0\0\0WAVE"
"""The recording of a call."""


def drive(
    database: Database,
    item_id: str,
    crm: Crm,
    name: str,
    clicked: Mapping[str, str] | None = None,
    failed: Sequence[str] = (),
) -> list[Received]:
    """Plays a recorded call of tests/traces, stage after delivered stage; the requests in their order. hidden_NAME: the
    call NAME, whose caller hides the number. clicked: what the CRM has sent with its order of this call. failed: the
    outcomes of deliveries that fail."""
    world = World(database)
    with Receiver(crm) as receiver, TemporaryDirectory() as spool:
        _keep_recordings(world, Path(spool))
        _add(world, item_id, f"http://127.0.0.1:{receiver.port}")
        with working(database, receiver, links=Links(VAULT, "https://pbx.example.com", Path(spool))):
            _play(world, name, clicked, Path(spool))
        assert [row.outcome for row in world.deliveries(Delivery.state == FAILED)] == list(failed)
        return list(receiver.requests)


def _keep_recordings(world: World, spool: Path) -> None:
    with world.database.write() as session:
        session.get_one(Pbx, world.pbx_id).recordings = COMMON_FOLDER
    file = spool / "call.wav"
    file.write_bytes(SOUND)
    os.utime(file, (0, 0))  # nobody writes to it any more


def shown(requests: Iterable[Received]) -> str:
    """The requests as text, with what differs from run to run replaced."""
    return "\n".join(_shown(one) for one in requests)


def _add(world: World, item_id: str, origin: str) -> None:
    item = find(item_id)
    assert item is not None
    answers = {ask.name: ask.example for ask in item.ask}
    preset = find_preset(item.connection)
    if preset:
        spec = preset.spec
        connect(world, replace(spec, **_static(spec.auth), hosts=(origin,), test_url=""), spec.carried(TOKEN))
    for ready in fill(item, {**answers, "connection": "CRM"}):
        spec = _sent_to(ready.spec, origin)
        own = {"secret_sealed": VAULT.seal(TOKEN)} if spec.request.auth.has_secret else {}
        with world.database.read() as session:
            used = connection_named(session, world.project_id, "CRM")
        world.webhook(ready.stage, spec, name=ready.name, connection_id=used.id if used else None, **own)
    with world.database.write() as session:
        for extension, user in EMPLOYEES.items():
            session.add(Employee(project_id=world.project_id, extension=extension, crm_id=user, name=f"E{extension}"))
        always = {"valid_from": datetime(2000, 1, 1, tzinfo=UTC), "valid_until": datetime(2100, 1, 1, tzinfo=UTC)}
        session.add(
            Attributes(
                id=new_id(), project_id=world.project_id, number=CALLER, values=VISITOR, created_on=NOON, **always
            )
        )


def _static(auth: Any) -> dict[str, Any]:
    """A token that is there already, carried as the preset carries that of OAuth2."""
    return {"kind": auth.kind, "name": auth.name, "username": auth.username, "oauth": None}


def _sent_to(spec: WebhookSpec, origin: str) -> WebhookSpec:
    return replace(spec, request=replace(spec.request, url=_ORIGIN.sub(origin, spec.request.url, count=1)))


def _play(world: World, name: str, clicked: Mapping[str, str] | None, spool: Path) -> None:
    tracker = Tracker(optional=OPTIONAL_STAGES)
    lines: Iterable[str] = _with_file(scenarios("22")[name.removeprefix("hidden_")], spool)
    if name.startswith("hidden_"):
        lines = [line.replace(CALLER, "anonymous") for line in lines]
    if clicked is not None:
        lines = _as_ordered(lines, order(world, callback_url="", custom={"crm": "bitrix24", **clicked}).channel_id)
    for message in read(lines):
        for report in tracker.feed(message):
            publish(context_of(world.database), {world.pbx_id: [report]}, utc_now())
            if report.stages:
                wait_until(lambda: not world.deliveries(Delivery.state.in_((PENDING, WAITING))))


def _as_ordered(lines: Iterable[str], channel_id: str) -> Iterator[str]:
    """The first channel has the id that the hub gives to the channel of an order."""
    lines = list(lines)
    first = next(line.split()[1] for line in lines if line.startswith("Linkedid: "))
    for line in lines:
        yield line.replace(first, channel_id) if line.rstrip().endswith(f": {first}") else line


def _with_file(lines: Iterable[str], spool: Path) -> Iterator[str]:
    """The traces have no channel variables: here the end of a recorded call says which file it has."""
    is_recorded = any(line.startswith("Event: MixMonitorStart") for line in lines)
    for line in lines:
        yield line
        if is_recorded and line.startswith("Event: Hangup"):
            yield f"ChanVariable: MIXMONITOR_FILENAME={spool}/call.wav\r\n"


def _shown(request: Received) -> str:
    kind = request.header("content-type") or ""
    body = _DELIVERY.sub('"id":"ID"', _SIGNED.sub("/RECORDING", request.body.decode()))
    body = _NOW.sub("ts=NOW&sign=MD5", body)
    path = request.path.replace(TOKEN, "TOKEN")
    return f"{request.method} {path} {kind}\n{body}\n".rstrip() + "\n"
