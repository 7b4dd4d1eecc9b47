"""A user has the recording of each call sent: as a file in a form, or in base64 inside JSON and other formats."""

import base64
import email
import json
import os
import resource
import shutil
import socket
import subprocess
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from urllib.parse import parse_qs

import pytest

from pbxhub.calls.ami_parser import parse
from pbxhub.calls.stages import OPTIONAL_STAGES
from pbxhub.calls.tracker import Tracker
from pbxhub.delivery import open_recordings
from pbxhub.delivery.links import Links
from pbxhub.delivery.outbox.resend import resend_one
from pbxhub.delivery.worker import Worker
from pbxhub.sending.address_guard import AddressGuard, endpoints
from pbxhub.sending.engine import Engine
from pbxhub.sending.upload import Upload
from pbxhub.sending.webhook_signatures import SigningKeys, identify, new_key, seal_keys
from pbxhub.store.accounts import COMMON_FOLDER, Pbx
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import DELIVERED, FAILED, PENDING
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.processes import free_port
from pbxhub.testing.receivers.receiver import Received, Receiver, Reply
from pbxhub.webhooks.attached import Attached, file_name_of, load_files
from pbxhub.webhooks.check import check_spec, problems
from pbxhub.webhooks.curl_command import as_curl
from pbxhub.webhooks.spec import Limits, Parameter, RequestSpec, SpecError, WebhookSpec
from tests.support.made_events import CALLER, NEW, event
from tests.support.outbox_world import AFTER, VAULT, World, at, context_of, report, take
from tests.support.waiting import PATIENCE, wait_until

SOUND = b"RIFF" + bytes(range(256)) * 700 + b"\r\n--pbxhub\r\n"
RECORDING = Parameter("audio", "recording")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "monitor"
    folder.mkdir()
    write(folder / "call.wav", SOUND)
    return folder


def write(path: Path, content: bytes, age: float = 60.0) -> None:
    """A file that nobody has written to for that many seconds."""
    path.write_bytes(content)
    then = time.time() - age
    os.utime(path, (then, then))


@pytest.fixture
def world(database: Database) -> World:
    world = World(database)
    with database.write() as session:
        session.get_one(Pbx, world.pbx_id).recordings = COMMON_FOLDER
    return world


@contextmanager
def working(world: World, spool: Path, *ports: int, **changes: Any) -> Iterator[Worker]:
    context = context_of(world.database, links=Links(VAULT, "https://pbx.example.com", spool), clock=utc_now, **changes)
    guard = AddressGuard(allowed_endpoints=frozenset().union(*(endpoints("127.0.0.1", port) for port in ports)))
    worker = Worker(context, Engine(guard))
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def posting(url: str, *parameters: Parameter, format: Any = "multipart", **more: Any) -> WebhookSpec:
    limits = more.pop("limits", Limits())
    spec = WebhookSpec(request=RequestSpec(url=url, format=format, parameters=parameters, **more), limits=limits)
    assert problems(spec) == []
    return spec


def call_ends(world: World, recording: str = "call.wav", name: str = "1.1") -> None:
    world.publish(ended(name, recording), now=utc_now())


def ended(name: str, recording: str) -> Any:
    made = report(name, AFTER, values={"recording_file": recording, "caller": "+1"}, ended=0)
    return made._replace(ended_on=utc_now() - timedelta(seconds=5))


def sent(world: World, spool: Path, spec_of: Any, recording: str = "call.wav") -> Received:
    with Receiver(port=free_port()) as receiver:  # a later receiver may take its place
        world.webhook(AFTER, spec_of(receiver.url))
        with working(world, spool, receiver.port):
            call_ends(world, recording)
            (request,) = receiver.wait_for(1)
            wait_until(lambda: {row.state for row in world.deliveries()} == {DELIVERED})
    return request


def fields_of(request: Received) -> list[tuple[str, str, str, bytes]]:
    """Name, file name, type and content of each part, as Python's own parser reads them."""
    head = f"Content-Type: {request.header('content-type')}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.body)
    return [
        (
            str(part.get_param("name", header="content-disposition")),
            str(part.get_filename() or ""),
            part.get_content_type() if part.get_filename() else "",
            bytes(part.get_payload(decode=True) or b""),
        )
        for part in message.get_payload()  # type: ignore[union-attr]
    ]


def test_the_recording_goes_as_a_file_beside_nested_fields(world: World, spool: Path) -> None:
    caller = Parameter(
        "call", "object", children=(Parameter("from", value="<<caller>>"), Parameter("audio", "recording"))
    )
    request = sent(world, spool, lambda url: posting(url, caller, Parameter("note", value="Ї & \r\n--x")))
    assert fields_of(request) == [
        ("call[from]", "", "", b"+1"),
        ("call[audio]", "call.wav", "audio/wav", SOUND),
        ("note", "", "", "Ї & \r\n--x".encode()),
    ]
    assert request.header("content-length") == str(len(request.body))
    assert request.header("transfer-encoding") is None


def test_exactly_these_bytes_leave(world: World, spool: Path) -> None:
    write(spool / "call.wav", b"RIFF\0")
    request = sent(
        world, spool, lambda url: posting(url, Parameter("id", value="7"), replace(RECORDING, value='a"b.wav'))
    )
    content_type = request.header("content-type") or ""
    boundary = content_type.removeprefix("multipart/form-data; boundary=")
    assert (
        request.body
        == (
            f'--{boundary}\r\nContent-Disposition: form-data; name="id"\r\n\r\n7\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="audio"; filename="a%22b.wav"\r\n'
            f"Content-Type: audio/wav\r\n\r\nRIFF\0\r\n--{boundary}--\r\n"
        ).encode()
    )


def test_neither_the_row_nor_the_note_has_the_bytes(world: World, spool: Path) -> None:
    sent(world, spool, lambda url: posting(url, RECORDING))
    (delivery,) = world.deliveries()
    assert b"RIFF" not in delivery.body
    assert len(delivery.body) < 300
    (file,) = load_files(delivery.files)
    assert (file.name, file.coding, file.size) == ("call.wav", "raw", 0)


@pytest.mark.parametrize("format", ["json", "json-rpc"])
def test_json_has_it_in_base64(world: World, spool: Path, format: Any) -> None:
    more = {"rpc_method": "add"} if format == "json-rpc" else {}
    audio = Parameter("audio", value="data:audio/wav;base64,<<recording_base64>>")
    request = sent(world, spool, lambda url: posting(url, audio, format=format, **more))
    assert b"data:audio/wav;base64," + base64.b64encode(SOUND) + b'"' in request.body
    assert request.header("content-length") == str(len(request.body))


def test_a_form_has_it_in_base64_with_its_signs_encoded(world: World, spool: Path) -> None:
    audio = Parameter("audio", value="<<recording_base64>>")
    request = sent(world, spool, lambda url: posting(url, audio, Parameter("n", value="1"), format="form"))
    assert {name: values[0] for name, values in parse_qs(request.body.decode("ascii")).items()} == {
        "audio": base64.b64encode(SOUND).decode(), "n": "1",
    }  # fmt: skip
    assert request.header("content-length") == str(len(request.body))


AUDIO = "<audio><<recording_base64>></audio>"


@pytest.mark.parametrize(
    "more",
    [{"format": "xml"}, {"format": "xml", "text": f"<a>{AUDIO}</a>"}, {"format": "raw", "text": AUDIO}],
)
def test_xml_and_raw_text_have_it_in_base64(world: World, spool: Path, more: dict[str, Any]) -> None:
    parameters = () if "text" in more else (Parameter("audio", value="<<recording_base64>>"),)
    request = sent(world, spool, lambda url: posting(url, *parameters, **more))
    assert b"<audio>" + base64.b64encode(SOUND) + b"</audio>" in request.body


def test_a_call_without_a_recording_has_no_part(world: World, spool: Path) -> None:
    request = sent(world, spool, lambda url: posting(url, Parameter("n", value="1"), RECORDING), recording="")
    assert [name for name, *_ in fields_of(request)] == ["n"]


def test_a_call_without_a_recording_has_null_in_json(world: World, spool: Path) -> None:
    audio = Parameter("a", value="<<recording_base64>>")
    assert sent(world, spool, lambda url: posting(url, audio, format="json"), "").body == b'{"a":null}'


def test_a_mandatory_recording_that_is_missing_is_not_sent(world: World, spool: Path) -> None:
    world.webhook(AFTER, posting("http://127.0.0.1:9/", replace(RECORDING, mandatory=True)))
    call_ends(world, "")
    (delivery,) = world.deliveries()
    assert (delivery.state, delivery.outcome) == (FAILED, "not_sent_mandatory")
    assert delivery.message == "parameters.audio: is mandatory, and the call has no recording"


def test_the_file_that_is_kept_with_the_webhook_goes_too(world: World, spool: Path) -> None:
    own = Parameter("logo", "file")
    request = sent(world, spool, lambda url: posting(url, own, RECORDING, file=b"\x89PNG\xff", file_name="logo.png"))
    assert fields_of(request) == [
        ("logo", "logo.png", "image/png", b"\x89PNG\xff"),
        ("audio", "call.wav", "audio/wav", SOUND),
    ]


def test_the_signature_covers_the_file(world: World, spool: Path) -> None:
    keys = SigningKeys(new_key())
    with Receiver() as receiver:
        world.webhook(AFTER, posting(receiver.url, RECORDING), signing_sealed=seal_keys(VAULT, keys))
        with working(world, spool, receiver.port):
            call_ends(world)
            (request,) = receiver.wait_for(1)
    at = request.received_on.fromtimestamp(int(request.header("webhook-timestamp") or ""), request.received_on.tzinfo)
    right = dict(identify(request.header("webhook-id") or "", 1, keys, at, (request.body,)))
    assert request.header("webhook-signature") == right["webhook-signature"]


def test_nobody_waits_while_a_large_recording_is_signed(
    world: World, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk gives nothing until the other project's request has arrived."""
    with Receiver() as receiver:
        other = World(world.database)
        world.webhook(AFTER, posting(receiver.url, Parameter("a", value="<<recording_base64>>"), format="form"))
        other.webhook(AFTER, WebhookSpec(request=RequestSpec(url=receiver.url)))
        begun, arrived, content = threading.Event(), threading.Event(), Upload._content

        def slow(upload: Upload) -> Iterator[bytes]:
            begun.set()
            arrived.wait(PATIENCE)
            return content(upload)

        monkeypatch.setattr(Upload, "_content", slow)
        with working(world, spool, receiver.port):
            call_ends(world)
            assert begun.wait(PATIENCE)
            other.publish(ended("2.2", ""), now=utc_now())
            (request,) = receiver.wait_for(1)
            arrived.set()
            assert b"a=" not in request.body
            receiver.wait_for(2)


def test_a_signed_form_reads_its_recording_twice_once_to_sign_and_once_to_send(tmp_path: Path) -> None:
    write(tmp_path / "call.wav", SOUND)
    with (tmp_path / "call.wav").open("rb") as file:
        upload = Upload(b"a=&b=1", [Attached(2, "call.wav", "form")], file, len(SOUND))
        body = b"".join(upload.parts())
        file.close()
        upload.measure()
        assert upload.length == len(body)


def test_a_recording_that_becomes_shorter_before_it_is_sent_says_so(
    world: World, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Upload, "__init__", longer(Upload.__init__))
    with Receiver() as receiver:
        world.webhook(AFTER, posting(receiver.url, Parameter("a", value="<<recording_base64>>"), format="form"))
        with working(world, spool, receiver.port):
            call_ends(world)
            wait_until(lambda: [row.outcome for row in world.deliveries()] == ["file_unreadable"])
    assert "became shorter" in world.deliveries()[0].message


def longer(init: Any) -> Any:
    """The file had a byte more when it was opened."""
    return lambda upload, body, files, file, size: init(upload, body, files, file, size + 1)


def test_a_caller_cannot_place_a_file_or_a_boundary(world: World, spool: Path) -> None:
    """What a caller sends as a name stays a name, even what the hub has used before."""
    first = sent(world, spool, lambda url: posting(url, RECORDING, Parameter("who", value="<<caller_name>>")))
    boundary = (first.header("content-type") or "").partition("boundary=")[2]
    evil = f"x\r\n--{boundary}\r\npbxhubfiler pbxhubfileb"
    with Receiver() as receiver:
        world.webhook(AFTER, posting(receiver.url, RECORDING, Parameter("who", value="<<caller_name>>")))
        with working(world, spool, receiver.port):
            made = ended("2.2", "call.wav")._replace(caller_name=evil)
            world.publish(made._replace(values={**made.values, "caller_name": evil}), now=utc_now())
            request = receiver.wait_for(1)[-1]
    assert [name for name, *_ in fields_of(request)] == ["audio", "who"]
    assert fields_of(request)[0][3] == SOUND


def test_a_recording_that_the_pbx_serves_is_fetched(world: World, spool: Path) -> None:
    with Receiver(lambda _: Reply(200, SOUND)) as pbx, Receiver() as receiver:
        world.webhook(AFTER, posting(receiver.url, RECORDING))
        with working(world, spool, pbx.port, receiver.port):
            call_ends(world, f"{pbx.url}/rec/call%201.mp3?token=1")
            (request,) = receiver.wait_for(1)
    assert fields_of(request) == [("audio", "call 1.mp3", "audio/mpeg", SOUND)]


@pytest.mark.slow
def test_a_recording_still_being_written_is_waited_for(world: World, spool: Path) -> None:
    (spool / "call.wav").unlink()
    with Receiver() as receiver:
        world.webhook(AFTER, posting(receiver.url, RECORDING))
        with working(world, spool, receiver.port):
            call_ends(world)
            wait_until(lambda: all(row.message for row in world.deliveries()))
            (delivery,) = world.deliveries()
            assert (delivery.state, delivery.tries, receiver.count) == (PENDING, 0, 0)
            assert delivery.message == "Not sent yet: the recording of the call is not complete. (call.wav)"
            write(spool / "call.wav", SOUND)
            (request,) = receiver.wait_for(1)
    assert fields_of(request)[0][3] == SOUND


@pytest.mark.slow
def test_one_that_was_written_to_a_moment_ago_is_waited_for(world: World, spool: Path) -> None:
    write(spool / "call.wav", SOUND, age=0.0)
    with Receiver() as receiver:
        world.webhook(AFTER, posting(receiver.url, RECORDING))
        with working(world, spool, receiver.port):
            call_ends(world)
            receiver.wait_for(1)
            wait_until(lambda: {row.state for row in world.deliveries()} == {DELIVERED})
    (delivery,) = world.deliveries()
    assert [one.outcome for one in world.attempts(delivery)][-2:] == ["file_not_ready", "ok"]


LONG_AGO = timedelta(hours=1)


def fails(world: World, spool: Path, recording: str, *ports: int, **changes: Any) -> tuple[str, str]:
    """Outcome and message of a delivery of an hour ago."""
    world.webhook(AFTER, posting("http://127.0.0.1:9/", RECORDING))
    made = ended("1.1", recording)._replace(ended_on=utc_now() - LONG_AGO)
    world.publish(made, now=utc_now() - LONG_AGO)
    with working(world, spool, 9, *ports, **changes):
        wait_until(lambda: {row.state for row in world.deliveries()} == {FAILED})
    (delivery,) = world.deliveries()
    return delivery.outcome, delivery.message


def test_one_that_is_gone_fails_with_its_name(world: World, spool: Path) -> None:
    assert fails(world, spool, "old/gone.wav") == (
        "file_gone", "Not sent: the recording of the call is not where the PBX has put it. (gone.wav)"
    )  # fmt: skip


@pytest.mark.parametrize("name", ["../secret.wav", "/etc/passwd", "call.txt", "link.wav"])
def test_nothing_outside_the_folder_is_sent(world: World, spool: Path, name: str) -> None:
    write(spool.parent / "secret.wav", b"secret")
    (spool / "link.wav").symlink_to(spool.parent / "secret.wav")
    write(spool / "call.txt", b"secret")
    assert fails(world, spool, name)[0] == "file_gone"


def test_one_that_is_too_large_fails_with_its_size(world: World, spool: Path) -> None:
    outcome, message = fails(world, spool, "call.wav", largest_file=1000)
    assert outcome == "file_too_large"
    assert message.endswith("It has 179 KB; at most 1 KB are sent.")


def test_one_that_a_pbx_serves_too_large_is_not_read_to_its_end(world: World, spool: Path) -> None:
    with Receiver(lambda _: Reply(200, SOUND)) as pbx:
        outcome, message = fails(world, spool, f"{pbx.url}/call.wav", pbx.port, largest_file=1000)
    assert outcome == "file_too_large"
    assert message.endswith("It has more than 1 KB.")


def test_a_pbx_that_refuses_is_named_with_its_status(world: World, spool: Path) -> None:
    with Receiver(lambda _: Reply(403)) as pbx:
        outcome, message = fails(world, spool, f"{pbx.url}/call.wav", pbx.port)
    assert outcome == "file_refused"
    assert message == (
        "Not sent: the PBX did not hand out the recording of the call. The receiver refused the request (status 403)."
    )


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "text/plain", "application/json", "application/atom+xml"])
def test_a_page_of_the_pbx_is_not_sent_as_the_recording(world: World, spool: Path, kind: str) -> None:
    with Receiver(lambda _: Reply(200, "<html>Увійдіть</html>".encode(), (("Content-Type", kind),))) as pbx:
        assert fails(world, spool, f"{pbx.url}/call.wav", pbx.port) == (
            "file_refused",
            "Not sent: the PBX did not hand out the recording of the call. The PBX answered with a page, not with a "
            "sound.",
        )


def test_a_sound_that_the_web_server_calls_a_text_is_sent(world: World, spool: Path) -> None:
    with Receiver(lambda _: Reply(200, SOUND, (("Content-Type", "text/plain"),))) as pbx, Receiver() as receiver:
        world.webhook(AFTER, posting(receiver.url, RECORDING))
        with working(world, spool, pbx.port, receiver.port):
            call_ends(world, f"{pbx.url}/call.gsm")
            (request,) = receiver.wait_for(1)
    assert fields_of(request)[0][3] == SOUND


def test_an_empty_file_counts_as_not_there(world: World, spool: Path) -> None:
    write(spool / "empty.wav", b"")
    gone = "Not sent: the recording of the call is not where the PBX has put it."
    assert fails(world, spool, "empty.wav") == ("file_gone", f"{gone} (empty.wav is empty)")


def test_an_empty_answer_of_the_pbx_counts_as_not_there(world: World, spool: Path) -> None:
    with Receiver(lambda _: Reply(200, b"")) as pbx:
        assert fails(world, spool, f"{pbx.url}/call.wav", pbx.port)[0] == "file_gone"


def test_two_projects_never_share_a_connection_to_a_pbx(world: World, spool: Path) -> None:
    """A connection may have been opened to an address that only one of them may reach."""
    worlds = [world, World(world.database)]
    with Receiver(lambda _: Reply(200, SOUND)) as pbx, Receiver() as receiver:
        for one in worlds:
            one.webhook(AFTER, posting(receiver.url, RECORDING))
        with working(world, spool, pbx.port, receiver.port):
            for number, one in enumerate(worlds, 1):
                call_ends(one, f"{pbx.url}/call.wav", f"{number}.1")
                receiver.wait_for(number)
        assert pbx.connections == 2


@pytest.mark.parametrize("address", ["http://[x.wav", "https://a]/b.wav", "http://a\u2100b/c.wav"])
def test_an_address_that_is_none_has_no_file(world: World, spool: Path, address: str) -> None:
    assert file_name_of(address) == "recording"
    assert fails(world, spool, address)[0] == "file_gone"


def test_a_pbx_that_no_longer_has_it_counts_as_gone(world: World, spool: Path) -> None:
    with Receiver(lambda _: Reply(404)) as pbx:
        assert fails(world, spool, f"{pbx.url}/call.wav", pbx.port)[0] == "file_gone"


def test_an_unreadable_file_says_so(world: World, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really_open = Path.open

    def refuse(path: Path, *arguments: Any) -> Any:  # also where the tests run as root, who may read every file
        if path.name == "call.wav":
            raise PermissionError(13, "Permission denied")
        return really_open(path, *arguments)

    monkeypatch.setattr(Path, "open", refuse)
    outcome, message = fails(world, spool, "call.wav")
    assert (outcome, "(Permission denied)" in message) == ("file_unreadable", True)


def test_sent_again_it_is_read_again(world: World, spool: Path) -> None:
    sent(world, spool, lambda url: posting(url, RECORDING))
    write(spool / "call.wav", b"RIFFnew")
    (delivery,) = world.deliveries()
    with Receiver(port=int(delivery.url.rpartition(":")[2].strip("/"))) as receiver:
        with world.database.write() as session:
            resend_one(context_of(world.database), session, world.project_id, delivery.id, utc_now())
        with working(world, spool, receiver.port):
            (request,) = receiver.wait_for(1)
    assert fields_of(request)[0][3] == b"RIFFnew"


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("format", ["multipart", "form", "json"])
def test_the_curl_command_sends_the_same_bytes(world: World, spool: Path, format: Any) -> None:
    audio, own = (RECORDING, Parameter("logo", "file")), {"file": b"\xff\0'", "file_name": "l.png"}
    if format != "multipart":
        audio, own = (Parameter("audio", value="<<recording_base64>>"), Parameter("n", value="it's")), {}
    request = sent(world, spool, lambda url: posting(url, *audio, format=format, **own))
    (delivery,) = world.deliveries()
    with Receiver() as receiver:
        headers = [(name, value) for name, value in delivery.headers]
        command = as_curl("POST", receiver.url, headers, delivery.body, load_files(delivery.files))
        subprocess.run(["sh", "-c", command], cwd=spool, check=True, capture_output=True)
        (again,) = receiver.requests
    assert again.body == request.body


@pytest.mark.parametrize(
    ("request_", "path", "words"),
    [
        ({"parameters": [{"name": "a", "type": "recording"}]}, "parameters.a", "only the format multipart sends"),
        ({"format": "multipart", "parameters": [{"name": "a", "type": "file"}]}, "file", "choose a file"),
        ({"url": "http://r.example/<<recording_base64>>"}, "url", "only a body can carry"),
        ({"headers": [{"name": "X-A", "value": "<<recording_base64>>"}]}, "headers.X-A", "only a body can carry"),
        ({"method": "GET", "parameters": [{"name": "a", "value": "<<recording_base64>>"}]}, "parameters.a", "use POST"),
        ({"method": "GET", "format": "multipart"}, "format", "has no body"),
        (
            {"format": "multipart", "headers": [{"name": "Content-Type", "value": "a/b"}]},
            "headers.Content-Type",
            "boundary",
        ),
        ({"format": "multipart", "content_type": False}, "content_type", "boundary"),
        ({"parameters": [{"name": "a", "type": "md5", "value": "<<recording_base64>>"}]}, "parameters.a", "type text"),
        ({"parameters": [{"name": "a", "value": "<<recording_base64|upper>>"}]}, "parameters.a", "has no filters"),
        (
            {"format": "multipart", "parameters": [{"name": "a", "type": "recording", "empty": "null"}]},
            "parameters.a",
            "mandatory",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_with_the_way_out(request_: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(SpecError) as refused:
        check_spec({"request": {"url": "http://r.example/", **request_}})
    assert [words in error.message for error in refused.value.errors if error.path == path] == [True]


def test_a_call_that_waits_cannot_send_its_recording() -> None:
    spec = {"request": {"url": "http://r.example/", "format": "multipart",
                        "parameters": [{"name": "a", "type": "recording"}]}, "steering": {}}  # fmt: skip
    with pytest.raises(SpecError) as refused:
        check_spec(spec)
    assert "has none yet" in str(refused.value)


@pytest.mark.slow
def test_thirty_megabytes_through_a_slow_receiver_cost_no_memory(world: World, spool: Path) -> None:
    """The file is read while it is sent: this process grows by less than 5 MB, signed and in base64, too."""
    with (spool / "call.wav").open("wb") as file, wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        for _ in range(300):
            sound.writeframes(os.urandom(100_000))
    write_age(spool / "call.wav")
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: received.append(_drink_slowly(server)), daemon=True)
        thread.start()
        port = server.getsockname()[1]
        world.webhook(AFTER, posting(f"http://127.0.0.1:{port}/", RECORDING, limits=Limits(deadline=60)),
                      signing_sealed=seal_keys(VAULT, SigningKeys(new_key())))  # fmt: skip
        with working(world, spool, port):
            before = _resident()
            most = before
            call_ends(world)
            while thread.is_alive():
                most = max(most, _resident())
                time.sleep(0.02)
            wait_until(lambda: {row.state for row in world.deliveries()} == {DELIVERED})
    length, total = received[0]
    assert length == total > 30_000_000
    assert most - before < 5_000_000
    print(f"grew by {(most - before) / 1e6:.1f} MB")


def write_age(path: Path) -> None:
    then = time.time() - 60
    os.utime(path, (then, then))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _drink_slowly(server: Any) -> tuple[int, int]:
    """Reads a request in sips, 10 MB a second; Content-Length and the bytes of the body that came."""
    connection, _ = server.accept()
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    head, _, rest = head.partition(b"\r\n\r\n")
    length = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")).split()[1])
    total = len(rest)
    while total < length:
        part = connection.recv(65536)
        total += len(part)
        time.sleep(len(part) / 10_000_000)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    connection.close()
    return length, total


def test_a_webhook_that_waits_for_another_sends_the_recording(world: World, spool: Path) -> None:
    with Receiver() as receiver:
        world.webhook(AFTER, posting(receiver.url, Parameter("n", value="1")), name="Register")
        world.webhook(AFTER, replace(posting(receiver.url, RECORDING), wait_for="Register"), name="Finish")
        with working(world, spool, receiver.port):
            call_ends(world)
            _, request = receiver.wait_for(2)
    assert [content for name, *_, content in fields_of(request) if name == "audio"] == [SOUND]


def test_a_worker_has_time_to_fetch_a_recording_although_the_webhook_sends_none_any_more(world: World) -> None:
    webhook_id = world.webhook(AFTER, posting("http://127.0.0.1:9/", RECORDING, limits=Limits(deadline=10)))
    world.publish(report("1.1", AFTER, values={"recording_file": "http://127.0.0.1:9/a.wav"}, ended=0))
    with world.database.write() as session:
        session.get_one(Webhook, webhook_id).spec = posting("http://127.0.0.1:9/", limits=Limits(deadline=10))
        touch_webhooks(session, world.project_id)
    (claimed,) = take(world.database, 1).claimed
    assert claimed.lease_until == at(1 + 60 + 10 + 20)


@pytest.mark.parametrize("size", [3000, 300_000], ids=["when it is complete", "while it comes"])
def test_a_full_temporary_folder_takes_no_place_in_the_worker(
    world: World, spool: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    full = Path("/dev/full")
    monkeypatch.setattr(open_recordings, "TemporaryFile", lambda prefix: full.open("w+b", buffering=4096))
    with Receiver(lambda _: Reply(body=b"R\0" * (size // 2))) as pbx, Receiver() as receiver:
        world.webhook(AFTER, posting(receiver.url, RECORDING))
        with working(world, spool, receiver.port, pbx.port) as worker:
            call_ends(world, f"http://127.0.0.1:{pbx.port}/call.wav")
            wait_until(lambda: [row.outcome for row in world.deliveries()] == ["file_unreadable"])
            assert worker.in_flight == 0
    (delivery,) = world.deliveries()
    assert f"(No space left on device) What the PBX serves is kept in {gettempdir()}" in delivery.message


def test_a_message_left_in_voicemail_is_sent_as_a_file_in_base64_and_as_a_link(world: World, spool: Path) -> None:
    write(spool / "msg0000.wav", SOUND)
    link = Parameter("link", value="<<recording>>")
    left = {"UserEvent": "PBXHubDisposition", "Disposition": "VOICEMAIL", "File": str(spool / "msg0000.wav")}
    tracker, now = Tracker(optional=OPTIONAL_STAGES), time.time()
    with Receiver() as receiver:
        world.webhook("call.voicemail", posting(receiver.url, RECORDING, link), name="as a file")
        text = Parameter("audio", value="<<recording_base64>>")
        world.webhook("call.voicemail", posting(receiver.url, text, format="json"), name="in base64")
        with working(world, spool, receiver.port):
            for block in (
                event("Newchannel", **{**NEW, "Timestamp": str(now)}),
                event("UserEvent", **{**CALLER, **left, "Timestamp": str(now + 1)}),
            ):
                message = parse(block)
                world.publish(*tracker.feed(message) if message else (), now=utc_now())
            requests = receiver.wait_for(2)
    (form,) = (one for one in requests if "multipart" in (one.header("content-type") or ""))
    (body,) = (json.loads(one.body) for one in requests if one is not form)
    parts = {name: (file, content) for name, file, _kind, content in fields_of(form)}
    assert parts["audio"] == ("msg0000.wav", SOUND)
    assert parts["link"][1].startswith(b"https://pbx.example.com/recordings/")
    assert base64.b64decode(body["audio"]) == SOUND
