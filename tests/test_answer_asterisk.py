"""Asterisk asks over FastAGI; others connect too."""

import ipaddress
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO
from uuid import UUID

import pytest

from pbxhub.agi import question_writer
from pbxhub.agi.server import MOST_UNKNOWN
from pbxhub.calls.stages import CallReport
from pbxhub.delivery.context import open_context
from pbxhub.delivery.outbox import publish
from pbxhub.opening import OpenHub
from pbxhub.services import answering
from pbxhub.settings import Settings, read_settings, with_key
from pbxhub.store.accounts import Pbx, Project
from pbxhub.store.agi_tokens import Tokens
from pbxhub.store.connections import FOREVER, Connection
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.questions import Question
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.processes import free_port
from pbxhub.testing.receivers.mock_answers import hang, json_response, text_response
from pbxhub.testing.receivers.mock_server import MockServer
from pbxhub.testing.waiting import await_until
from pbxhub.vault import Vault
from pbxhub.webhooks.check import check_spec
from pbxhub.webhooks.connection_spec import ConnectionSpec
from tests.support.outbox_world import context_of

NOW = datetime.now(UTC)


class Asterisk:
    """Speaks the part of Asterisk by hand: the header, a result for every command, a hangup when told."""

    def __init__(self, port: int, path: str) -> None:
        self.path = path
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.commands: list[str] = []
        self.variables = {"PBXHUB_LINE": "1"}  # as the dialplan begins
        self._lines = self.socket.makefile("r", encoding="utf-8", newline="\n")

    def begin(self, *arguments: str, **headers: str) -> None:
        known = {
            "network": "yes", "network_script": self.path, "channel": "PJSIP/trunk-1", "uniqueid": "1.1",
            "callerid": "79161234567", "calleridname": "unknown", "dnid": "5550100", "context": "from-trunk",
            "extension": "5550100", **headers,
        }  # fmt: skip
        known |= {f"arg_{number}": value for number, value in enumerate(arguments, 1)}
        self.send("".join(f"agi_{name}: {value}\n" for name, value in known.items()) + "\n")

    def send(self, text: str) -> None:
        self.socket.sendall(text.encode("utf-8", "surrogateescape"))

    def obey(self, **results: str) -> list[str]:
        """Answers commands until the hub closes the connection; the commands. results: of the first word of each."""
        while line := self._lines.readline():
            command = line.rstrip("\n")
            self.commands.append(command)
            words = [
                word.replace('\\"', '"').replace("\\\\", "\\") for word in re.findall(r'"((?:[^"\\]|\\.)*)"', command)
            ]
            if command.startswith("SET VARIABLE"):
                self.variables[words[0]] = words[1]
            value = results.get(" ".join(command.split()[:2]), results.get(command.split()[0], "1"))
            note = " (BUSY)" if "DIALSTATUS" in command else ""
            self.send(f"200 result={value}{note}\n")
        return self.commands

    def closed(self) -> bool:
        """Whether the hub has closed the connection, within the timeout of the socket."""
        try:
            return self.socket.recv(1000) == b""
        except ConnectionError:
            return True


class Hub:
    def __init__(self, database: Database, folder: Path) -> None:
        self.port = free_port()
        self.connections: list[socket.socket | TextIO] = []
        variables = {
            "PBXHUB_DATA_DIR": str(folder), "PBXHUB_AGI": f"127.0.0.1:{self.port}",
            "PBXHUB_ALLOWED_NETWORKS": "127.0.0.0/8",
        }  # fmt: skip
        self.settings: Settings = with_key(read_settings(variables))
        self.database, self.vault = database, Vault(self.settings.secret_key)
        with database.write() as session:
            project = Project(name="Shop", created_on=NOW)
            pbx = Pbx(project=project, name="PBX", host="127.0.0.1", username="u", secret_sealed="", created_on=NOW)
            session.add(pbx)
            session.flush()
            self.project_id, self.pbx_id = project.id, pbx.id
            self.path = Tokens(self.vault).path(pbx)

    def webhook(self, url: str, parameter: object = None, **steering: object) -> None:
        request = {"url": url, "parameters": [parameter or {"name": "caller", "value": "<<caller>>"}]}
        spec = check_spec({"request": request, "steering": {"wait": 1, "numbers": ["_1XX"], **steering}})
        with self.database.write() as session:
            session.add(
                Webhook(project_id=self.project_id, name="crm", stage="call.question", spec=spec, created_on=NOW)
            )

    def asterisk(self, path: str = "") -> Asterisk:
        asterisk = Asterisk(self.port, path or self.path)
        self.connections += [asterisk.socket, asterisk._lines]
        return asterisk

    def hang_up(self) -> None:
        for connection in self.connections:
            connection.close()

    def questions(self) -> list[tuple[Delivery, Question]]:
        with self.database.read() as session:
            found = session.query(Delivery, Question).join(Question, Question.delivery_id == Delivery.id).all()
            return [(row[0], row[1]) for row in found]


@pytest.fixture
def hub(database: Database, tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(database, tmp_path / "hub")
    with answering(OpenHub(hub.settings, open_context(hub.settings, database, hub.vault))):
        yield hub
    hub.hang_up()


@pytest.fixture
def receiver() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.mark.slow
def test_a_call_asks_and_the_answer_is_carried_out(hub: Hub, receiver: MockServer) -> None:
    actions = [{"type": "answer"}, {"type": "dial", "number": "101"}, {"type": "hangup", "cause": 17}]
    receiver.respond("POST", "/", json_response({"actions": actions}))
    hub.webhook(receiver.url + "/")
    asterisk = hub.asterisk()
    asterisk.begin("crm", "1.1", "", "from-internal", "g")
    commands = asterisk.obey(ANSWER="0")
    assert commands[-5:] == [
        "ANSWER", 'EXEC "Dial" "Local/101@from-internal,30,g"', 'GET VARIABLE "DIALSTATUS"', 'EXEC "Hangup" "17"',
        'SET VARIABLE "PBXHUB_LINE" "0"',
    ]  # fmt: skip
    assert asterisk.variables["PBXHUB_LINE"] == "0"
    assert asterisk.variables["PBXHUB_RESPONSE_STATUS"] == "SUCCESS"
    assert asterisk.variables["PBXHUB_RESPONSE_STATUS_CODE"] == "200"
    assert asterisk.variables["PBXHUB_RESPONSE_STATUS_TYPE"] == "Success"
    assert receiver.last_request("/").json("caller") == "79161234567"


def test_the_question_stands_in_the_history_of_its_call(hub: Hub, receiver: MockServer) -> None:
    receiver.respond("POST", "/", json_response({"actions": [{"type": "dial", "number": "101"}]}))
    hub.webhook(receiver.url + "/")
    asterisk = hub.asterisk()
    asterisk.begin("crm", "1.1")
    asterisk.obey()
    call_id = write_the_call(hub)
    delivery, question = await_until(lambda: the_question(hub))
    assert (delivery.call_id, delivery.kind, delivery.state, delivery.attempts) == (call_id, "question", "delivered", 1)
    assert question.steps == [{"step": "dial 101 for 30 s", "result": "BUSY"}]
    with hub.database.read() as session:
        answers = session.get_one(Call, call_id).answers
    assert (answers["response_status"], answers["response_status_code"]) == ("SUCCESS", 200)


@pytest.mark.parametrize(("ends", "outcome"), [(FOREVER, "ok"), (None, "token_refused")])
def test_a_question_carries_the_credentials_of_its_connection_or_takes_the_default_route(
    hub: Hub, receiver: MockServer, ends: datetime | None, outcome: str
) -> None:
    """A caller waits, so the question does not wait for a token."""
    receiver.respond("POST", "/", json_response({"actions": [{"type": "dial", "number": "101"}]}))
    with hub.database.write() as session:
        row = Connection(
            project_id=hub.project_id, name="CRM", spec=ConnectionSpec(hosts=(receiver.url,)), created_on=NOW,
            secret_sealed=hub.vault.seal("k3y"), ready_until=ends, reason="The provider refused: invalid_grant",
        )  # fmt: skip
        session.add(row)
        session.flush()
        request = {"url": f"{receiver.url}/", "auth": {"kind": "connection", "name": "CRM"}}
        spec = check_spec({"request": request, "steering": {"wait": 1, "numbers": ["_1XX"], "default": "102"}})
        session.add(
            Webhook(project_id=hub.project_id, name="crm", stage="call.question", spec=spec, created_on=NOW,
                    connection_id=row.id)
        )  # fmt: skip
    asterisk = hub.asterisk()
    asterisk.begin("crm", "1.1")
    commands = asterisk.obey()
    number = "101" if outcome == "ok" else "102"
    assert any(f"Local/{number}@" in command for command in commands)
    write_the_call(hub)
    delivery, _question = await_until(lambda: the_question(hub))
    assert delivery.outcome == outcome
    if outcome == "ok":
        assert receiver.last_request("/").header("authorization") == "Bearer k3y"
    else:
        assert delivery.message == "The provider refused: invalid_grant"


def write_the_call(hub: Hub) -> UUID:
    """The listener comes later than the answer."""
    call_id = new_id()
    with hub.database.write() as session:
        session.add(
            Call(
                id=call_id, project_id=hub.project_id, pbx_id=hub.pbx_id, linkedid="1.1", direction="incoming",
                caller="79161234567", dst="5550100", started_on=NOW,
            )
        )  # fmt: skip
    return call_id


def the_question(hub: Hub) -> tuple[Delivery, Question]:
    found = hub.questions()
    assert len(found) == 1
    return found[0]


def ask_in_a_call_that_is_not_written(hub: Hub, receiver: MockServer) -> None:
    """A call between extensions is written when it is over: its question cannot wait that long."""
    receiver.respond("POST", "/", json_response({"actions": [{"type": "dial", "number": "101"}]}))
    hub.webhook(receiver.url + "/")
    asterisk = hub.asterisk()
    asterisk.begin("crm", "1.1")
    asterisk.obey()

    def written() -> None:
        delivery, question = the_question(hub)
        assert (delivery.call_id, question.pbx_id, question.linkedid) == (None, hub.pbx_id, "1.1")

    await_until(written)


def linked_to(hub: Hub) -> Call:
    def linked() -> Call:
        delivery, question = the_question(hub)
        assert (question.pbx_id, question.linkedid) == (None, "")
        with hub.database.read() as session:
            return session.get_one(Call, delivery.call_id)

    return await_until(linked)


@pytest.mark.slow
def test_a_question_of_a_long_internal_call_finds_its_call_when_that_is_written(
    hub: Hub, receiver: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question_writer, "FOR_THE_CALL", 0.1)
    monkeypatch.setattr(question_writer, "AT_THE_SAME_TIME", 0.0)
    ask_in_a_call_that_is_not_written(hub, receiver)
    with hub.database.write() as session:
        other = Pbx(
            project_id=hub.project_id, name="2", host="127.0.0.2", username="u", secret_sealed="", created_on=NOW
        )
        session.add(other)
        session.flush()
        other_id = other.id
    over = CallReport(
        linkedid="1.1", direction="internal", caller="102", caller_name="", dst="101", extension="101",
        started_on=NOW, answered_on=NOW, ended_on=NOW, disposition="ANSWERED", values={},
    )  # fmt: skip
    publish(context_of(hub.database), {other_id: [over]}, NOW)
    assert hub.questions()[0][0].call_id is None  # numbers of calls are each PBX's own
    publish(context_of(hub.database), {hub.pbx_id: [over._replace(linkedid="1.2"), over]}, NOW)
    call = linked_to(hub)
    assert (call.pbx_id, call.linkedid) == (hub.pbx_id, "1.1")


@pytest.mark.slow
def test_a_question_finds_a_call_that_was_being_written_at_the_same_moment(
    hub: Hub, receiver: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question_writer, "FOR_THE_CALL", 0.1)
    monkeypatch.setattr(question_writer, "AT_THE_SAME_TIME", 2.0)
    ask_in_a_call_that_is_not_written(hub, receiver)
    with hub.database.write() as session:  # as if its transaction had begun before that of the question was done
        session.add(
            Call(
                id=new_id(), project_id=hub.project_id, pbx_id=hub.pbx_id, linkedid="1.1", direction="internal",
                caller="102", dst="101", started_on=NOW,
            )
        )  # fmt: skip
    assert linked_to(hub).linkedid == "1.1"


def test_the_caller_hangs_up_while_the_receiver_thinks(hub: Hub, receiver: MockServer) -> None:
    receiver.respond("POST", "/", hang())
    hub.webhook(receiver.url + "/", wait=30)
    asterisk = hub.asterisk()
    asterisk.begin("crm", "1.1")
    asterisk.send("200 result=1\n200 result=1\n")
    await_until(lambda: receiver.last_request("/"))
    began = time.monotonic()
    asterisk.send("HANGUP\n")
    while asterisk.socket.recv(1000):
        pass
    assert time.monotonic() - began < 20  # the webhook waits for 30


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b"\n", b"\n\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff" * 5000, b"\0" * 20000,
        b"agi_network: yes\n", b"agi_network: yes\n\n", b"x" * 1_000_000,
        b"agi_network: yes\n" + b"agi_arg_1: a\n" * 2 + b"\n",
        b"".join(b"agi_%d: x\n" % number for number in range(10_000)),
    ],
)  # fmt: skip
def test_garbage_is_closed(garbage: bytes, hub: Hub) -> None:
    with socket.create_connection(("127.0.0.1", hub.port), timeout=60) as stranger:
        try:
            stranger.sendall(garbage)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(100) == b""
        except OSError as error:  # closed before it had read everything
            if isinstance(error, TimeoutError):
                raise


@pytest.mark.slow
def test_a_silent_and_a_slow_sender_are_closed_after_three_seconds(hub: Hub) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", hub.port), timeout=60) as silent:
        with socket.create_connection(("127.0.0.1", hub.port), timeout=0.2) as slow:
            closed = False
            while not closed and time.monotonic() - began < 30:
                try:
                    slow.sendall(b"a")
                    closed = slow.recv(1) == b""
                except TimeoutError:
                    continue
                except ConnectionError:
                    closed = True
        assert closed
        assert silent.recv(1) == b""
    assert 2.5 < time.monotonic() - began < 30


@pytest.mark.slow
def test_thousands_of_idle_connections_do_not_keep_a_call_waiting(hub: Hub, receiver: MockServer) -> None:
    receiver.respond("POST", "/", text_response("101"))
    hub.webhook(receiver.url + "/", reads="number")
    idle = []
    for _ in range(2 * MOST_UNKNOWN):
        idle.append(socket.create_connection(("127.0.0.1", hub.port), timeout=60))

    def asked() -> None:
        asterisk = hub.asterisk()
        try:
            asterisk.begin("crm", "1.1")
            commands = asterisk.obey()
        except ConnectionError:
            commands = []
        assert any("Local/101@from-internal" in command for command in commands)

    await_until(asked, "60s")  # the room of those who say nothing is taken for three seconds at most
    for one in idle:
        one.close()


@pytest.mark.parametrize(
    "path",
    ["", "x", "1", "1/", "1/x", "1/{token}", "1-/{token}", "2-{salt}/{token}", "1-{salt}/{token}x", "01-{salt}/{token}",
     "¹-{salt}/{token}", "1-{salt}-/{token}"],
)  # fmt: skip
def test_a_wrong_token_is_closed(path: str, hub: Hub) -> None:
    owner, _, token = hub.path.partition("/")
    asterisk = hub.asterisk(path.format(token=token, salt=owner.partition("-")[2]) or "/")
    asterisk.begin("crm", "1.1")
    assert asterisk.closed()


def test_the_address_of_a_deleted_pbx_is_not_that_of_the_next_one(
    hub: Hub, receiver: MockServer, database: Database
) -> None:
    hub.webhook(receiver.url + "/")
    with database.write() as session:
        session.delete(session.get_one(Pbx, hub.pbx_id))
        session.flush()
        session.add(
            Pbx(id=hub.pbx_id, project_id=hub.project_id, name="Next", host="127.0.0.1", username="u", secret_sealed="",
                created_on=NOW)
        )  # fmt: skip
    asterisk = hub.asterisk()
    asterisk.begin("crm", "1.1")
    asterisk.obey()
    assert asterisk.variables["PBXHUB_RESPONSE_STATUS"] == "FAILED"
    assert receiver.request_count("/") == 0


def test_a_pbx_of_the_first_release_keeps_its_address(hub: Hub, receiver: MockServer, database: Database) -> None:
    with database.write() as session:
        pbx = session.get_one(Pbx, hub.pbx_id)
        pbx.salt = ""
        path = Tokens(hub.vault).path(pbx)
    assert path.startswith(f"{hub.pbx_id}/")
    receiver.respond("POST", "/", text_response("101"))
    hub.webhook(receiver.url + "/", reads="number")
    asterisk = hub.asterisk(path)
    asterisk.begin("crm", "1.1")
    assert any("Local/101@from-internal" in command for command in asterisk.obey())


def test_other_networks_are_closed_at_once(database: Database, tmp_path: Path) -> None:
    hub = Hub(database, tmp_path / "hub")
    settings = replace(hub.settings, agi_networks=(ipaddress.ip_network("192.0.2.0/24"),))
    with answering(OpenHub(settings, open_context(settings, database, hub.vault))):
        assert hub.asterisk().closed()
    hub.hang_up()


def test_a_name_is_read_in_the_charset_of_the_pbx_and_a_hidden_number_is_none(
    hub: Hub, receiver: MockServer, database: Database
) -> None:
    with database.write() as session:
        session.get_one(Pbx, hub.pbx_id).charset = "windows-1251"
    receiver.respond("POST", "/", text_response("101"))
    hub.webhook(receiver.url + "/", {"name": "who", "value": "<<caller_name>>/<<caller>>"}, reads="number")
    asterisk = hub.asterisk()
    sent = "Віталій".encode("windows-1251").decode("utf-8", "surrogateescape")
    asterisk.begin("crm", "1.1", calleridname=sent, callerid="Anonymous")
    asterisk.obey()
    assert receiver.last_request("/").json("who") == "Віталій/"


def test_a_line_break_in_a_caller_s_name_makes_no_header(hub: Hub, receiver: MockServer) -> None:
    receiver.respond("POST", "/", text_response("101"))
    hub.webhook(receiver.url + "/", reads="number")
    asterisk = hub.asterisk()
    asterisk.begin("crm", "1.1", calleridname="x\nagi_arg_1: other")
    assert asterisk.closed()
    assert receiver.requests == []


def test_what_the_dialplan_reads_is_quoted_and_one_line(hub: Hub, receiver: MockServer) -> None:
    receiver.respond(
        "POST", "/", json_response({"actions": [{"type": "set", "variables": {"A": 'x\r\n"${SHELL(id)}\\'}}]})
    )
    hub.webhook(receiver.url + "/")
    asterisk = hub.asterisk()
    asterisk.begin("crm", "1.1")
    asterisk.obey()
    assert asterisk.variables["HUB_A"] == "x%0D%0A%22%24%7BSHELL%28id%29%7D%5C"
    assert not set("\r$,") & set(asterisk.variables["PBXHUB_RESPONSE_RAW"])
    assert all(len(command.encode()) < 2000 for command in asterisk.commands)


def test_a_long_answer_fits_into_asterisk_s_buffer(hub: Hub, receiver: MockServer) -> None:
    receiver.respond("POST", "/", text_response("Є,$" * 5000))
    hub.webhook(receiver.url + "/", reads="variables")
    asterisk = hub.asterisk()
    asterisk.begin("crm", "1.1")
    asterisk.obey()
    assert asterisk.variables["PBXHUB_LINE"] == "0"
    raw = asterisk.variables["PBXHUB_RESPONSE_RAW"]
    assert 1000 < len(raw.encode()) <= 1500
    assert re.fullmatch(r"(Є|%2C|%24)+", raw)


def test_unknown_names_and_refusing_asterisks_leave_the_default_route(hub: Hub, receiver: MockServer) -> None:
    asterisk = hub.asterisk()
    asterisk.begin("nothing", "1.1")
    asterisk.obey()
    assert asterisk.variables["PBXHUB_LINE"] == "1"
    assert "has no enabled webhook" in asterisk.variables["PBXHUB_ERROR_SENTENCE"]
    receiver.respond("POST", "/", text_response("101"))
    hub.webhook(receiver.url + "/", reads="number", default="102")
    asterisk = hub.asterisk()
    asterisk.begin("crm", "1.1")
    asterisk.obey(EXEC="-2")
    assert asterisk.variables["PBXHUB_LINE"] == "1"


@pytest.mark.parametrize(
    ("answer", "steering", "why"),
    [
        ("<html>", {}, "This is not JSON: see line 1, column 1."),
        ("[" * 70_000, {}, "The answer is larger than 64 KB."),
        ('{"actions": 1}', {}, "The answer's actions: is not a list."),
        ("sorry", {"reads": "number"}, "The answer is not a phone number."),
        ("201", {"reads": "number"}, "201 is not among the numbers that may be called."),
    ],
)
def test_the_history_says_in_a_sentence_why_an_answer_was_not_carried_out(
    answer: str, steering: dict[str, str], why: str, hub: Hub, receiver: MockServer
) -> None:
    receiver.respond("POST", "/", text_response(answer))
    hub.webhook(receiver.url + "/", **steering)
    asterisk = hub.asterisk()
    asterisk.begin("crm", "1.1")
    asterisk.obey()
    assert asterisk.variables["PBXHUB_LINE"] == "1"
    write_the_call(hub)
    delivery, _ = await_until(lambda: the_question(hub))
    assert delivery.message.endswith(f"the call took the default route. {why}")


@pytest.mark.parametrize(("news", "told"), [("HANGUP\n", ""), ("", "cannot play")])
def test_a_caller_who_hangs_up_while_keys_are_read_is_no_missing_sound(
    hub: Hub, receiver: MockServer, news: str, told: str
) -> None:
    receiver.respond("POST", "/", json_response({"actions": [{"type": "read", "max_digits": 3}]}))
    hub.webhook(receiver.url + "/")
    asterisk = hub.asterisk()
    asterisk.begin("crm", "1.1")
    asterisk.obey(**{"GET DATA": f"-1\n{news}"})
    assert told in asterisk.variables.get("PBXHUB_ERROR_SENTENCE", "")
    assert ("PBXHUB_ERROR_SENTENCE" in asterisk.variables) == bool(told)


def test_the_limit_of_the_wait_is_lifted_before_anybody_talks(hub: Hub, receiver: MockServer) -> None:
    receiver.respond("POST", "/", text_response("101"))
    hub.webhook(receiver.url + "/", reads="number")
    assert limits_before_the_dial(hub.asterisk()) == ["4.0", "0"]


def test_a_question_that_cannot_be_sent_lifts_the_limit_too(hub: Hub) -> None:
    needed = {"name": "mark", "value": "<<evaluation_mark>>", "mandatory": True}
    hub.webhook("https://crm.example.com/", needed, default="102")
    assert limits_before_the_dial(hub.asterisk()) == ["0"]


def test_a_limit_of_the_dialplan_s_own_goes_on_to_count(hub: Hub, receiver: MockServer) -> None:
    receiver.respond("POST", "/", text_response("101"))
    hub.webhook(receiver.url + "/", reads="number", wait=5)
    waiting, dialling = limits_before_the_dial(hub.asterisk(), "60.5")
    assert waiting == "8.0"
    assert 59 < float(dialling) <= 60.5
    assert limits_before_the_dial(hub.asterisk(), "nonsense") == ["8.0", "0"]


def limits_before_the_dial(asterisk: Asterisk, limit: str = "0") -> list[str]:
    asterisk.begin("crm", "1.1", "1", "from-internal", "", limit)
    commands = asterisk.obey()
    dial = next(index for index, command in enumerate(commands) if command.startswith('EXEC "Dial"'))
    return [command.split('"')[3] for command in commands[:dial] if "TIMEOUT(absolute)" in command]
