"""A scenario starts a hub, plays calls to it and looks at what it did with them."""

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pbxhub.client import ProblemError
from pbxhub.testing import Hub, HubFailedError, PlayedPbx, await_until, expect, json_response, status_response

pytestmark = pytest.mark.slow

HAND_WRITTEN = """
    Event: Newchannel
    Privilege: call,all
    Timestamp: 1795328593.000001
    Channel: PJSIP/trunk-00000001
    ChannelState: 4
    ChannelStateDesc: Ring
    CallerIDNum: 380441234567
    CallerIDName: Anna
    Context: from-trunk
    Exten: 5550100
    Priority: 1
    Uniqueid: 1795328593.1
    Linkedid: 1795328593.1
"""


def test_a_played_call_becomes_stages_and_webhooks(hub, pbx_player, webhook, deliveries, stages, mock_server):
    hub.listen_to(pbx_player)
    crm = mock_server()
    crm.respond("POST", "/over", json_response({"ok": True}))
    name = webhook(
        "incoming.after", crm.url + "/over", parameters={"caller": "<<caller>>", "n": {"of": [1, "<<dst>>"]}}
    )
    pbx_player.play("answered")

    await_until(lambda: expect(crm.request_count("/over")).equals(1))
    request = crm.last_request("/over")
    assert request.json() == {"caller": "79161234567", "n": {"of": [1, "5550100"]}}
    (call,) = hub.calls()
    assert (call.direction, call.disposition, call.caller) == ("incoming", "ANSWERED", "79161234567")
    names = [stage.name for stage in stages(call)]
    assert names == ["incoming.before", "incoming.forward", "incoming.pickup", "incoming.after"]
    assert stages() == stages(call.linkedid)
    await_until(lambda: expect([one.state for one in deliveries()]).equals(["delivered"]))
    (delivery,) = deliveries(webhook=name, call=call)
    assert (delivery.stage, delivery.status_code, delivery.attempts) == ("incoming.after", 200, 1)
    assert (delivery.method, delivery.url, delivery.linkedid) == ("POST", crm.url + "/over", call.linkedid)
    assert delivery.body == request.body
    assert deliveries(state="failed") == deliveries(webhook="another") == deliveries(call="1.1") == []


def test_events_written_by_hand_are_played_as_they_are(hub, pbx_player, stages):
    hub.listen_to(pbx_player)
    pbx_player.play([HAND_WRITTEN])
    (stage,) = await_until(lambda: expect(stages("1795328593.1")).is_not_empty().value)
    assert (stage.name, stage.values["caller"], stage.values["caller_name"]) == (
        "incoming.before", "380441234567", "Anna",
    )  # fmt: skip
    assert stage.created_on.timestamp() == 1795328593.000001


def test_a_signed_webhook_holds_for_the_receivers_library(hub, pbx_player, webhook, mock_server):
    hub.listen_to(pbx_player)
    crm = mock_server()
    key = "whsec_" + "a2V5" * 8
    webhook("incoming.before", crm.url + "/in", signing_key=key)
    pbx_player.play("answered")
    await_until(lambda: crm.last_request("/in").check_signature(key))


def test_a_receiver_that_fails_is_tried_again(hub, pbx_player, webhook, deliveries, mock_server):
    hub.listen_to(pbx_player)
    crm = mock_server()
    crm.respond("POST", "/in", status_response(503))
    webhook("incoming.before", crm.url + "/in", retry={"profile": "own", "delays": [1]})
    pbx_player.play("answered")
    await_until(lambda: expect(crm.request_count("/in")).equals(1))
    crm.respond("POST", "/in", json_response({}))
    await_until(lambda: expect([(one.state, one.attempts) for one in deliveries()]).equals([("delivered", 2)]))


def test_a_killed_hub_comes_back_and_delivers(hub, pbx_player, webhook, deliveries, mock_server):
    pbx = hub.listen_to(pbx_player)
    crm = mock_server()
    webhook("incoming.after", crm.url + "/over")
    old = hub.pid
    hub.kill()
    hub.start()
    assert hub.pid != old
    hub.await_connected(pbx)
    pbx_player.play("missed")
    await_until(lambda: expect([one.outcome for one in deliveries()]).equals(["http_4xx"]))
    assert crm.request_count("/over") == 1


def test_a_wrong_webhook_is_refused_with_the_field(hub):
    with pytest.raises(HubFailedError, match=r"refuses this webhook: parameters.x .*nobody is not a parameter"):
        hub.webhook("incoming.after", "http://127.0.0.1/", parameters={"x": "<<nobody>>"})
    with pytest.raises(HubFailedError, match=r"refuses this webhook: stage is 'lunch'"):
        hub.webhook("lunch", "http://127.0.0.1/")


def test_a_wrong_pbx_fails_with_the_reason(hub, pbx_player):
    pbx_player.player.secret = "changed"
    stranger = SimpleNamespace(host=pbx_player.host, port=pbx_player.port, username="hub", secret="another")
    with pytest.raises(AssertionError, match=r"the PBX is refused: .*[Ss]ecret"):
        hub.listen_to(stranger, within="5s")


def test_a_hub_that_cannot_start_says_why(tmp_path):
    with (
        Hub(tmp_path / "hub", settings={"PBXHUB_BIND": "192.0.2.1"}) as hub,
        pytest.raises(HubFailedError, match=r"the hub ended while starting:(?s:.*)PBXHUB_"),
    ):
        hub.start()


def test_a_missing_recording_names_those_there_are():
    with PlayedPbx() as pbx, pytest.raises(FileNotFoundError, match=r"no recording lunch: .*answered, blind_transfer"):
        pbx.play("lunch")


def test_nothing_is_left_when_a_run_is_killed(tmp_path):
    """kill -9 of the test run: the hub it started ends too."""
    script = f"""
import os, signal
from pathlib import Path
from pbxhub.testing import Hub
hub = Hub(Path({str(tmp_path / "hub")!r})).start()
print(hub.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    process = Path(f"/proc/{int(done.stdout)}/cmdline")
    await_until(lambda: expect(process.exists() and process.read_bytes()).equals(False))


def test_a_hub_keeps_its_data_in_postgresql_when_asked(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "def scenario_x(hub, pbx_player):\n    hub.listen_to(pbx_player)\n"
        "    assert hub.database.engine.dialect.name == 'postgresql'\n"
    )
    command = [sys.executable, "-m", "pbxhub.testing", "scenario", "run", str(script), "--database", "postgresql"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout


def test_a_client_may_do_what_its_scopes_say(hub):
    assert list(hub.client("read").all("/webhooks")) == []
    with pytest.raises(ProblemError) as refused:
        hub.client("read").add("/webhooks", {})
    assert refused.value.status == 403
