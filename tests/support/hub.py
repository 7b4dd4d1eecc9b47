"""A listener on a real database inside a test, and what it wrote there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from pbxhub.ami.listener import listen
from pbxhub.ami.login import AmiTimeouts
from pbxhub.calls.stages import JSON, CallReport
from pbxhub.delivery.call_rows import Reports
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.links import Links
from pbxhub.delivery.outbox import publish
from pbxhub.store.accounts import Pbx, Project
from pbxhub.store.history import Call, LiveCall, StageEvent
from pbxhub.store.listeners import LeaseTokens
from pbxhub.store.session import Database
from pbxhub.testing.pbx.pbx_player import PbxPlayer
from pbxhub.testing.pbx.recordings import Recording, freshen, name_of, read_recording, shipped
from pbxhub.vault import Vault
from tests.support.pbx_line import HASTY

VAULT = Vault(b"k" * 32)


def add_pbx(database: Database, player: PbxPlayer, **changes: object) -> int:
    """A project with this PBX; the id of the PBX."""
    with database.write() as session:
        project = Project(name="Shop", created_on=datetime.now(UTC))
        pbx = Pbx(
            project=project,
            name="PBX",
            host="127.0.0.1",
            any_network=True,
            port=player.port,
            username=player.username,
            secret_sealed=VAULT.seal(player.secret),
            created_on=datetime.now(UTC),
        )
        for name, value in changes.items():
            setattr(pbx, name, value)
        session.add(pbx)
        session.flush()
        return pbx.id


def change_pbx(database: Database, pbx_id: int, **changes: object) -> None:
    with database.write() as session:
        pbx = session.get_one(Pbx, pbx_id)
        for name, value in changes.items():
            setattr(pbx, name, value)


def pbx_of(database: Database, pbx_id: int) -> Pbx:
    with database.read() as session:
        return session.get_one(Pbx, pbx_id)


def calls_of(database: Database) -> list[Call]:
    with database.read() as session:
        return list(session.scalars(select(Call).order_by(Call.started_on)))


def stages_of(database: Database) -> list[str]:
    """The names of all stages, in the order they were written."""
    with database.read() as session:
        return list(session.scalars(select(StageEvent.stage).order_by(StageEvent.id)))


def notes_of(database: Database) -> dict[str, dict[str, JSON]]:
    """What is written of the calls that live, by linkedid."""
    with database.read() as session:
        rows = session.execute(select(LiveCall.linkedid, LiveCall.memory))
        return {row.linkedid: row.memory for row in rows}


@asynccontextmanager
async def listening(
    database: Database,
    timeouts: AmiTimeouts = HASTY,
    stage_memory: int = 1000,
    stopped: bool = True,
    data_dir: Path = Path("/nowhere"),
    refused: list[CallReport] | None = None,
    keep_events: bool = True,
) -> AsyncIterator[asyncio.Task[None]]:
    """A listener that runs during the block. stopped: ends it cleanly; otherwise it is killed.

    refused: becomes what it tried last to write in vain.
    """

    context = DeliveryContext(database, VAULT, Links(VAULT, ""))

    def write(reports: Reports, tokens: LeaseTokens) -> None:
        try:
            publish(context, reports, datetime.now(UTC), tokens)
        except DBAPIError:
            if refused is not None:
                refused[:] = [report for of_pbx in reports.values() for report in of_pbx]
            raise

    stop = asyncio.Event()
    task = asyncio.create_task(listen(context, write, stage_memory, stop, data_dir, timeouts, keep_events))
    try:
        yield task
    finally:
        if stopped:
            stop.set()
            await task
        else:
            for each in asyncio.all_tasks() - {asyncio.current_task()}:
                if "listen" in repr(each.get_coro()) or "Line" in repr(each.get_coro()):
                    each.cancel()
            await asyncio.wait({task})


def call_to(endpoint: str, shown: str) -> Recording:
    """An answered call, whose phone is called like this and shows this number."""
    (path,) = [path for path in shipped() if path.stem == "answered"]
    recording = freshen(read_recording(path), datetime.now(UTC))
    blocks = [
        replace(event, block=event.block.replace("PJSIP/101-", f"PJSIP/{endpoint}-")) for event in recording.events
    ]
    blocks = [replace(event, block=event.block.replace("Num: 101\n", f"Num: {shown}\n")) for event in blocks]
    return replace(recording, events=tuple(blocks))


def answered() -> tuple[Recording, Recording]:
    """The recording of an answered call in two parts: up to the moment they talk, and the rest."""
    (path,) = [path for path in shipped() if path.stem == "answered"]
    whole = freshen(read_recording(path), datetime.now(UTC))
    names = [name_of(played.block) for played in whole.events]
    cut = max(index for index, name in enumerate(names) if name in ("DialEnd", "BridgeEnter")) + 1
    return replace(whole, events=whole.events[:cut]), replace(whole, events=whole.events[cut:])
