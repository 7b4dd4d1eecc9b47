"""A hub for a scenario: a `pbxhub run` process on temporary files, a project in it, and verbs to look inside."""

import hashlib
import secrets
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self

from sqlalchemy import select, update

from pbxhub.calls.stages import JSON
from pbxhub.client import Client
from pbxhub.sending.webhook_signatures import SigningKeys, seal_keys
from pbxhub.settings import read_settings, with_key
from pbxhub.store.accounts import COMMON_FOLDER, ApiKey, Pbx, Project
from pbxhub.store.agi_tokens import Tokens
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.hub_keys import open_vault
from pbxhub.store.migrate import migrate
from pbxhub.store.session import open_database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.http_call import NotReachableError, http
from pbxhub.testing.hub.seen import SeenCall, SeenDelivery, SeenStage, seen_call, seen_delivery, seen_stage
from pbxhub.testing.pbx.asterisk import Asterisk
from pbxhub.testing.processes import Program, free_port
from pbxhub.testing.waiting import await_until
from pbxhub.webhooks.check import check_spec, check_stage
from pbxhub.webhooks.spec import SpecError

_START, _STOP = "60s", 15.0
_COMMAND = (sys.executable, "-c", "from pbxhub.cli import main; main()")
_DEFAULT_PARAMETERS = {"call_id": "<<call_id>>", "caller": "<<caller>>", "dst": "<<dst>>"}


class HubFailedError(Exception):
    """The hub did not start, ended, or refused the test's setup. The message has its output."""


class Ami(Protocol):
    """A PBX the hub can listen to: a PlayedPbx, an Asterisk of the laboratory, or one of your own."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def username(self) -> str: ...
    @property
    def secret(self) -> str: ...


class Hub:
    """A hub and its project. Its processes can be stopped, killed and started again on the same files."""

    def __init__(
        self,
        folder: Path,
        database_url: str = "",
        settings: Mapping[str, str] | None = None,
        commands: Sequence[str] = ("run",),
    ) -> None:
        """folder: for its files. database_url: of an empty PostgreSQL database; SQLite in the folder by default.

        settings: PBXHUB_* variables that differ. Webhooks may go to addresses of this machine.
        commands: one process each; ("listen", "work", "work", "web") for a hub on PostgreSQL in several processes.
        """
        self.folder = folder
        self.port = free_port()
        self.agi_port = free_port()
        self._variables = {
            "PBXHUB_DATA_DIR": str(folder),
            "PBXHUB_PORT": str(self.port),
            "PBXHUB_AGI": f"127.0.0.1:{self.agi_port}",
            "PBXHUB_ALLOWED_NETWORKS": "127.0.0.0/8",
            **({"PBXHUB_DATABASE_URL": database_url} if database_url else {}),
            **(settings or {}),
        }
        known = with_key(read_settings(self._variables))
        self.database = open_database(known.database_url, direct_url=known.database_direct_url)
        migrate(self.database)
        self._vault = open_vault(self.database, known.secret_key)
        with self.database.write() as session:
            project = Project(name="Scenario", country="UA", created_on=_now())
            session.add(project)
            session.flush()
            self.project_id: int = project.id
        self._commands = tuple(commands)
        self._programs: list[Program] = []

    @property
    def url(self) -> str:
        """Where its pages and API are, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the process has printed."""
        return (self.folder / "hub.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process id of the running hub; of its first process when it has several."""
        return self.pids[0]

    @property
    def pids(self) -> list[int]:
        """The process ids, in the order of the commands."""
        return [program.pid for program in self._running]

    def start(self) -> Self:
        """Starts the process and waits until its pages answer. Raises HubFailedError with what it printed."""
        with self.database.write() as session:  # a state left by a killed process must not count as new
            session.execute(update(Pbx).values(state="connecting"))
        self._programs = [
            Program((*_COMMAND, command), self.folder / "hub.log", environ=self._variables)
            for command in self._commands
        ]

        def answers() -> None:
            if not all(program.running for program in self._programs):
                raise HubFailedError(f"the hub ended while starting:\n{self._last_lines()}")
            http("GET", self.url)

        try:
            await_until(answers, _START)
        except NotReachableError:
            raise HubFailedError(f"the hub does not answer:\n{self._last_lines()}") from None
        return self

    def stop(self) -> None:
        """Stops it with SIGTERM."""
        for program in self._running:
            program.stop(_STOP)

    def kill(self) -> None:
        """kill -9."""
        for program in self._running:
            program.kill()

    def close(self) -> None:
        """Ends it, whatever state it is in, and closes its database."""
        for program in self._programs:
            program.stop(_STOP)
        self.database.close()

    def listen_to(self, pbx: Ami, within: str | float = "60s", cel: Path | str = "") -> int:
        """Adds a PBX to the project; returns its id when the hub is logged in there. Start the hub first.

        cel: the SQLite file of its CEL, from which the hub reports calls whose events it missed.
        """
        with self.database.write() as session:
            row = Pbx(
                project_id=self.project_id, name="pbx", host=pbx.host, port=pbx.port, username=pbx.username,
                any_network=True, recordings=COMMON_FOLDER, cel_path=str(cel),
                secret_sealed=self._vault.seal(pbx.secret), created_on=_now(),
            )  # fmt: skip
            session.add(row)
            session.flush()
            pbx_id: int = row.id
        self.await_connected(pbx_id, within)
        return pbx_id

    def await_connected(self, pbx_id: int, within: str | float = "60s") -> None:
        """Waits until the hub is logged in at the PBX; fails with the reason it shows otherwise."""

        def connected() -> None:
            with self.database.read() as session:
                row = session.get_one(Pbx, pbx_id)
                assert row.state == "connected", f"the PBX is {row.state}: {row.state_reason}\n{self._last_lines()}"

        await_until(connected, within)

    def cel_cursor(self, pbx_id: int) -> int:
        """The number of the CEL row up to which every stage is in the database."""
        with self.database.read() as session:
            return session.get_one(Pbx, pbx_id).cel_cursor

    def agi_address(self, pbx_id: int) -> str:
        """The FastAGI address for that PBX's dialplan: the value of PBXHUB_AGI in its [globals]."""
        with self.database.read() as session:
            return f"agi://127.0.0.1:{self.agi_port}/{Tokens(self._vault).path(session.get_one(Pbx, pbx_id))}"

    def steer(self, asterisk: Asterisk) -> int:
        """Listens to the laboratory's Asterisk and lets its dialplan ask this hub; returns the PBX's id."""
        pbx_id = self.listen_to(asterisk)
        asterisk.cli(f"dialplan set global PBXHUB_AGI {self.agi_address(pbx_id)}")
        return pbx_id

    def client(self, *scopes: str) -> Client:
        """A client of its API with a new key. scopes: read, write, call, admin; all of them by default."""
        key = f"pbx_{secrets.token_urlsafe(32)}"
        with self.database.write() as session:
            session.add(
                ApiKey(
                    project_id=self.project_id, name="scenario", prefix=key[:10],
                    scopes=list(scopes or ("read", "write", "call", "admin")),
                    key_hash=hashlib.sha256(key.encode()).hexdigest(), created_on=_now(),
                )
            )  # fmt: skip
        return Client(self.url, key)

    def webhook(
        self,
        stage: str,
        url: str,
        *,
        method: str = "POST",
        parameters: Mapping[str, JSON] | None = None,
        name: str = "",
        secret: str = "",
        signing_key: str = "",
        request: Mapping[str, JSON] | None = None,
        **spec: JSON,
    ) -> str:
        """Creates a webhook and returns its name. It is used from the next stage on.

        parameters: what it sends; texts may hold <<placeholders>>. request and spec: the rest of it, in the form of
        an export: request={"format": "form"}, retry={"profile": "fast"}, filters=[…].
        secret: of request.auth. signing_key: whsec_…. Raises HubFailedError with every field that is wrong.
        """
        tree = [_parameter(key, value) for key, value in (parameters or _DEFAULT_PARAMETERS).items()]
        sent: dict[str, JSON] = {"method": method, "url": url, "parameters": list(tree), **(request or {})}
        try:
            if errors := check_stage(stage):
                raise SpecError(errors)
            checked = check_spec({"request": sent, **spec})
        except SpecError as error:
            wrong = "; ".join(f"{one.path} {one.message}" for one in error.errors)
            raise HubFailedError(f"the hub refuses this webhook: {wrong}") from None
        with self.database.write() as session:
            count = session.query(Webhook).count()
            row = Webhook(
                project_id=self.project_id, name=name or f"{stage} {count + 1}", stage=stage, spec=checked,
                position=count + 1, created_on=_now(), secret_sealed=self._vault.seal(secret),
                signing_sealed=seal_keys(self._vault, SigningKeys(signing_key)) if signing_key else "",
            )  # fmt: skip
            session.add(row)
            touch_webhooks(session, self.project_id)
            return row.name

    def calls(self) -> list[SeenCall]:
        """The history, oldest first."""
        with self.database.read() as session:
            return [seen_call(row) for row in session.scalars(select(Call).order_by(Call.started_on, Call.id))]

    def stages(self, call: str | SeenCall | None = None) -> list[SeenStage]:
        """The stages of a call (its linkedid), in the order they were written; without a call those of all calls."""
        query = select(StageEvent).join(Call, Call.id == StageEvent.call_id).order_by(StageEvent.id)
        if call is not None:
            query = query.where(Call.linkedid == (call if isinstance(call, str) else call.linkedid))
        with self.database.read() as session:
            return [seen_stage(row) for row in session.scalars(query)]

    def deliveries(
        self, webhook: str | None = None, call: str | SeenCall | None = None, state: str | None = None
    ) -> list[SeenDelivery]:
        """What webhooks sent or will send, oldest first: of one webhook (its name), of one call, in one state."""
        query = (
            select(Delivery, Webhook.name, StageEvent.stage, Call.linkedid)
            .join(Webhook, Webhook.id == Delivery.webhook_id)
            .outerjoin(StageEvent, StageEvent.id == Delivery.stage_event_id)
            .outerjoin(Call, Call.id == Delivery.call_id)
            .order_by(Delivery.id)
        )
        if webhook is not None:
            query = query.where(Webhook.name == webhook)
        if call is not None:
            query = query.where(Call.linkedid == (call if isinstance(call, str) else call.linkedid))
        if state is not None:
            query = query.where(Delivery.state == state)
        with self.database.read() as session:
            return [seen_delivery(row, name, stage, linkedid) for row, name, stage, linkedid in session.execute(query)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _running(self) -> list[Program]:
        assert self._programs, "start() the hub first"
        return self._programs

    def _last_lines(self) -> str:
        return self._programs[0].last_lines() if self._programs else "the hub is not started"


def _parameter(name: str, value: JSON) -> dict[str, JSON]:
    """A value as a node of the parameter tree."""
    if isinstance(value, Mapping):
        return {"name": name, "type": "object", "children": [_parameter(key, one) for key, one in value.items()]}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {"name": name, "type": "array", "children": [_parameter("", one) for one in value]}
    if isinstance(value, bool):
        return {"name": name, "type": "boolean", "value": str(value).lower()}
    if isinstance(value, int | float):
        return {"name": name, "type": "number", "value": str(value)}
    return {"name": name, "type": "text", "value": value or ""}


def _now() -> datetime:
    return datetime.now(UTC)
