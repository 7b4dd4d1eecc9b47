"""Webhooks wait for moments that are not reported otherwise; calls on a real Asterisk bring each of them once."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from pbxhub.testing.http_call import http
from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.pbx.asterisk import Asterisk
from pbxhub.testing.phones.softphone import Agent
from pbxhub.testing.phones.tones import Tone
from pbxhub.testing.receivers.mock_answers import json_response, text_response
from pbxhub.testing.receivers.mock_server import MockServer, regex
from pbxhub.testing.waiting import await_until

pytestmark = pytest.mark.asterisk
WANTED = ("incoming.unring", "incoming.abandoned", "call.hold", "call.unhold", "call.voicemail", "internal.before",
          "internal.pickup", "internal.after")  # fmt: skip
BODY = {"caller": "<<caller>>", "extension": "<<extension>>", "queue": "<<queue>>", "how": "<<ring_status>>"}


def recorded(spool: Path) -> dict[Path, int]:
    """The messages in all mailboxes, with their size in bytes."""
    return {path: path.stat().st_size for path in (spool / "voicemail").rglob("*.wav")}


def test_each_moment_arrives_once_where_a_webhook_waits_for_it(
    pbx: Asterisk, phone: Callable[..., Agent], outside: Callable[..., Agent], tmp_path: Path
) -> None:
    employee, colleague, caller = phone(101), phone(102), outside("79161234567")
    with MockServer() as receiver, Hub(tmp_path / "hub") as hub:
        receiver.respond("*", regex(".*"), text_response("ok"))
        hub.start()

        seen: list[str] = []

        def arrived(*stages: str) -> None:
            seen.extend(stages)
            await_until(lambda: sorted(request.path[1:] for request in receiver.requests) == sorted(seen))

        for stage in WANTED:
            hub.webhook(stage, f"{receiver.url}/{stage}", parameters=BODY)
        hub.listen_to(pbx)

        caller.dial("5550103")
        employee.await_incoming()
        caller.hangup()
        arrived("incoming.abandoned", "incoming.unring")

        caller.dial("5550100")
        employee.accept()
        caller.await_established()
        employee.hold()
        arrived("call.hold")
        employee.resume()
        arrived("call.unhold")
        caller.hangup()
        employee.await_closed()

        caller.dial("5550117")
        arrived("call.voicemail")

        colleague.dial("101")
        employee.accept()
        colleague.await_established()
        colleague.hangup()
        arrived("internal.before", "internal.pickup", "internal.after")


@pytest.mark.parametrize(
    ("sent_by", "ends_by"),
    [("5550129", ""), ("5550301", ""), ("5550301", "#")],
    ids=["by the dialplan", "by an answer", "by an answer, ended by a key"],
)
def test_a_message_left_in_voicemail_arrives_with_its_sound(
    pbx: Asterisk, outside: Callable[..., Agent], tmp_path: Path, sent_by: str, ends_by: str
) -> None:
    if not (pbx.installation.modules / "app_voicemail.so").exists():
        pytest.skip("this Asterisk has no app_voicemail")
    caller, spool = outside("79161234567"), pbx.recordings.parent
    with MockServer() as receiver, Hub(tmp_path / "hub", settings={"PBXHUB_RECORDINGS": str(spool)}) as hub:
        receiver.respond("*", regex(".*"), text_response("ok"))
        hub.start()
        sent = {"sound": "<<recording_base64>>", "link": "<<recording>>"}
        hub.webhook("call.voicemail", f"{receiver.url}/left", parameters=sent)
        answer = json_response({"actions": [{"type": "answer"}, {"type": "voicemail", "mailbox": "201@default"}]})
        receiver.respond("*", "/ask", answer)
        hub.webhook("call.question", f"{receiver.url}/ask", name="q01", steering={"wait": 2})
        hub.steer(pbx)
        known = set(recorded(spool))
        caller.dial(sent_by)
        caller.await_established()
        caller.send_audio(Tone(440))

        await_until(lambda: any(size > 20_000 for path, size in recorded(spool).items() if path not in known), "60s")
        caller.dtmf(ends_by) if ends_by else caller.hangup()
        request = await_until(lambda: receiver.last_request("/left"), "30s")
        assert len([one for one in receiver.requests if one.path == "/left"]) == 1
        sound = base64.b64decode(request.json("sound"))
        assert sound.startswith(b"RIFF")
        assert len(sound) > 20_000
        path = request.json("link").partition("/recordings/")[2]
        assert http("GET", f"{hub.url}/recordings/{path}").content == sound
