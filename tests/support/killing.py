"""The house of the kill test: a played PBX, two listeners, a worker, the pages and a receiver, each to be killed."""

import ctypes
import multiprocessing
import os
import signal
import threading
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Self

import requests
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from pbxhub.account.tokens import hash_of
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS
from pbxhub.calls.tracker import Tracker
from pbxhub.store.accounts import ApiKey, Pbx, Project
from pbxhub.store.delivery_rows import PENDING, Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.hub.postgres import Cluster
from pbxhub.testing.pbx.pbx_player import PbxPlayer
from pbxhub.testing.pbx.recordings import Recording, freshen, read_recording, shipped
from pbxhub.testing.processes import free_port
from pbxhub.testing.receivers.receiver import Received, Receiver
from pbxhub.vault import Vault
from tests.support import kill_child
from tests.support.loop_thread import LoopThread
from tests.support.outbox_world import spec
from tests.support.two_nodes import TwoNodes
from tests.support.waiting import PATIENCE, wait_until

KEY = b"k" * 32
API_KEY = "pbx_of_the_kill_test"
STAGES = ("incoming.before", "incoming.pickup", "incoming.after", "outgoing.after", "form.sent")
PR_SET_CHILD_SUBREAPER = 36  # of prctl(2)

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["pytest", "pbxhub.running", "pbxhub.api.resources"])


class Child:
    """One process of the hub and the line over which it is told where to stand still."""

    def __init__(self, role: str, variables: dict[str, str], bug: str = "") -> None:
        self.role = role
        self.line, theirs = _processes.Pipe()
        self._process: ForkServerProcess = _processes.Process(
            target=kill_child.main, args=(role, variables, bug, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        self._hear("ready")

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def arm(self, step: str) -> None:
        self.line.send(step)
        self._hear("armed")

    def stands_within(self, seconds: float) -> bool:
        """Whether it reaches the armed step by then."""
        return self.line.poll(seconds)

    def stand(self, step: str) -> Any:
        """Waits until the process stands at the armed step; returns what it is about."""
        return self._hear(step)

    def go(self) -> None:
        self.line.send("go")

    def kill(self) -> None:
        """kill -9; fails the test when it was dead before."""
        assert self._process.is_alive(), f"the {self.role} has died by itself"
        assert self._process.pid
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join(PATIENCE)
        assert self._process.exitcode == -signal.SIGKILL
        self.line.close()

    def end(self) -> None:
        """Lets it stop by itself."""
        self.line.send("stop")
        self._process.join(PATIENCE)
        assert self._process.exitcode == 0, f"the {self.role} ended with {self._process.exitcode}"

    def _hear(self, wanted: str) -> Any:
        line: Connection = self.line
        if not line.poll(PATIENCE):
            raise TimeoutError(f"the {self.role} did not say {wanted!r}")
        said, about = line.recv()
        assert said == wanted
        return about


class Pbx22:
    """The played PBX, on a loop of its own."""

    def __init__(self) -> None:
        self.player = PbxPlayer()
        self._loop = LoopThread()
        self._loop.do(self.player.start())

    def play(self, recording: Recording) -> None:
        self._loop.do(self.player.play(recording, speed=0))

    def looks(self) -> int:
        """How often a listener has asked which channels there are: the last thing before it follows the events."""
        return sum(action.get("Action") == "Status" for action in self.player.actions)

    def close(self) -> None:
        self._loop.do(self.player.kill())
        self._loop.close()


@dataclass
class Kill:
    """One that has happened: who stood where, and whether the server was killed instead of the process."""

    step: str
    server: bool
    about: tuple[str, str] | None


@dataclass
class House:
    """Everything that runs, and what must be in the database at the end.

    hands_over: whether those who listen send what they publish, and are killed over that.
    bug: of the simulation's, in those who listen and those who work.
    """

    database: Database
    url: str
    folder: Path
    cluster: Cluster | TwoNodes | None = None  # of a PostgreSQL server that may be killed; started while adopting()
    hands_over: bool = False
    bug: str = ""
    kills: list[Kill] = field(default_factory=list)
    expected: set[tuple[str, str, str]] = field(default_factory=set)
    arrived: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __enter__(self) -> Self:
        self.receiver = Receiver(keep=100_000).__enter__()
        self.pbx = Pbx22()
        self._recordings = [read_recording(path) for path in shipped() if path.stem in ("answered", "missed")]
        self._fill()
        port = free_port()
        self.web_url = f"http://127.0.0.1:{port}"
        self.variables = {
            "PBXHUB_DATA_DIR": str(self.folder), "PBXHUB_DATABASE_URL": self.url, "PBXHUB_PORT": str(port),
            "PBXHUB_SECRET_KEY": urlsafe_b64encode(KEY).decode(),
            "PBXHUB_ALLOWED_NETWORKS": "127.0.0.0/8", "PBXHUB_AGI": "",
        }  # fmt: skip
        self.listeners = [self._listener(), self._listener()]
        self.worker = Child("worker", self.variables, self.bug)
        self.web = Child("web", self.variables)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            for child in (*self.listeners, self.worker, self.web):
                child.end() if kind is None else child.line.close()
        finally:
            self.pbx.close()
            self.receiver.__exit__(None, None, None)

    # --- the rounds: each ends with one kill, and with the dead one replaced

    def kill_listener(self, step: str, server: bool) -> None:
        """The two hear the same; one of them dies over a call, turn and turn about."""
        self.listeners.reverse()
        victim = self.listeners[0]
        victim.arm(step)
        call = self._play()
        self._strike(victim, step, server)
        wait_until(lambda: self._written(call), "the stages of a call are written")
        if not server:
            self.listeners[0] = self._listener()

    def kill_hub(self, step: str, server: bool) -> None:
        """One of the two that listen and send dies over what it publishes, before the other one may write any of it."""
        wait_until(self.drained, "everything is delivered")
        self.listeners.reverse()
        victim, other = self.listeners
        other.arm(kill_child.HEARD)
        victim.arm(step)
        call = self._play()
        while not victim.stands_within(5.0):  # a worker of the other process was just choosing: nothing was handed over
            call |= self._play()
        self._strike(victim, step, server)
        other.stand(kill_child.HEARD)
        other.go()
        wait_until(lambda: self._written(call), "the stages of a call are written")
        if not server:
            self.listeners[0] = self._listener()

    def kill_worker(self, step: str, server: bool) -> None:
        wait_until(self.drained, "everything is delivered")
        self.worker.arm(step)
        self._play()
        self._strike(self.worker, step, server)
        if not server:
            self.worker = Child("worker", self.variables, self.bug)

    def kill_web(self, step: str, server: bool) -> None:
        """A program hands in a form, and asks again until it is told that it was taken."""
        key = f"form {len(self.kills)}"
        self.expected.add(("", "form.sent", key))
        self.web.arm(step)
        first = threading.Thread(target=self._hand_in, args=(key,))
        first.start()
        self._strike(self.web, step, server)
        first.join()
        if not server:
            self.web = Child("web", self.variables)
        wait_until(lambda: self._hand_in(key), "the form is taken")

    def _strike(self, victim: Child, step: str, server: bool) -> None:
        about = victim.stand(step)
        if step == "after request":
            wait_until(lambda: self._has_arrived(about), "the request has left")
        if server:
            self._kill_server()
            victim.go()
        else:
            victim.kill()
        self.kills.append(Kill(step, server, about))

    def _kill_server(self) -> None:
        assert self.cluster
        pid = self.cluster.pid
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        wait_until(lambda: _started(self.cluster), "the server starts again")

    # --- what goes in, and what is asked

    def _play(self) -> set[tuple[str, str, str]]:
        """One call as fast as possible; the stages it has when nobody dies."""
        recording = self._recordings[len(self.kills) % len(self._recordings)]
        fresh = freshen(recording, datetime.now(UTC))
        stages = stages_of(fresh)
        assert stages
        self.expected |= stages
        self.pbx.play(fresh)
        return stages

    def _hand_in(self, key: str) -> bool:
        try:
            answer = requests.post(
                f"{self.web_url}/api/v1/events/in", json={"stage": "form.sent", "fields": {"number": key}, "key": key},
                headers={"X-API-KEY": API_KEY}, timeout=PATIENCE,
            )  # fmt: skip
        except requests.RequestException:
            return False
        if answer.status_code not in (201, 500, 503):
            raise AssertionError(answer.text)
        return answer.status_code == 201

    def _written(self, stages: set[tuple[str, str, str]]) -> bool:
        linkedids = {linkedid for linkedid, _, _ in stages}
        query = select(func.count()).select_from(StageEvent).join(Call).where(Call.linkedid.in_(linkedids))
        return self._ask(query) == len(stages)

    def drained(self) -> bool:
        return self._ask(select(func.count()).select_from(Delivery).where(Delivery.state == PENDING)) == 0

    def _ask(self, query: Any) -> Any:
        try:
            with self.database.read() as session:
                return session.scalar(query)
        except DBAPIError:
            return None

    def _has_arrived(self, about: tuple[str, str]) -> bool:
        return (about[0], int(about[1])) in {attempt_of(each) for each in tuple(self.receiver.requests)[-50:]}

    def _listener(self) -> Child:
        looks = self.pbx.looks()
        child = Child("hub" if self.hands_over else "listener", self.variables, self.bug)
        wait_until(lambda: self.pbx.looks() > looks, "a listener follows the PBX")
        return child

    def _fill(self) -> None:
        now = datetime.now(UTC)
        player = self.pbx.player
        with self.database.write() as session:
            project = Project(name="Flower shop", created_on=now)
            session.add(project)
            session.flush()
            sealed = Vault(KEY).seal(player.secret)
            session.add(
                Pbx(
                    project_id=project.id, name="PBX", host="127.0.0.1", port=player.port, username=player.username,
                    any_network=True,
                    secret_sealed=sealed, created_on=now,
                )
            )  # fmt: skip
            session.add(
                ApiKey(
                    project_id=project.id, name="forms", key_hash=hash_of(API_KEY), prefix=API_KEY[:8],
                    scopes=["call"], created_on=now,
                )
            )  # fmt: skip
            for name in STAGES:
                what = spec(self.receiver.url)
                session.add(Webhook(project_id=project.id, name=name, stage=name, spec=what, created_on=now))
            touch_webhooks(session, project.id)


def stages_of(recording: Recording) -> set[tuple[str, str, str]]:
    """Call, stage and key of everything the recording gives."""
    tracker = Tracker(DEFAULT_INCOMING_CONTEXTS)
    messages = [message for played in recording.events if (message := parse(played.block, 0.0))]
    reports = [report for message in messages for report in tracker.feed(message)]
    return {(report.linkedid, stage.name, stage.key) for report in reports for stage in report.stages}


def attempt_of(request: Received) -> tuple[str, int]:
    """Which attempt of which delivery a request was: the first one carries no number."""
    return request.header("webhook-id") or "", int(request.header("webhook-attempt") or 1)


def rounds(house: House, steps: Sequence[tuple[str, bool]], number: int) -> None:
    """Kills that many, one step after the other: the lists are read again and again."""
    kinds = {**dict.fromkeys(kill_child.LISTENER, house.kill_listener), **dict.fromkeys(kill_child.WEB, house.kill_web)}
    for index in range(number):
        step, server = steps[index % len(steps)]
        (house.kill_hub if house.hands_over else kinds.get(step, house.kill_worker))(step, server)


def _started(cluster: Cluster | TwoNodes | None) -> bool:
    """A killed server leaves processes that hold its memory for a moment."""
    assert cluster
    try:
        cluster.start()
    except RuntimeError:
        return False
    return True


@contextmanager
def adopting() -> Iterator[None]:
    """Orphans of this process become its children: a killed server can be waited for, and is no zombie."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
