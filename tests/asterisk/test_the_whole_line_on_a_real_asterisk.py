"""Somebody calls a DID on a real Asterisk: a receiver gets before, forward, pickup and after, each once, in order."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.pbx.asterisk import Asterisk
from pbxhub.testing.phones.softphone import Agent
from pbxhub.testing.receivers.mock_answers import text_response
from pbxhub.testing.receivers.mock_server import MockServer, regex
from pbxhub.testing.waiting import await_until

pytestmark = pytest.mark.asterisk
STAGES = ["before", "forward", "pickup", "after"]
BODY = {"caller": "<<caller>>", "dst": "<<dst>>", "extension": "<<extension>>", "disposition": "<<disposition>>"}


def test_a_call_becomes_webhooks_that_arrive(
    pbx: Asterisk, phone: Callable[..., Agent], outside: Callable[..., Agent], tmp_path: Path
) -> None:
    employee, caller = phone(101), outside("79161234567")
    with MockServer() as receiver, Hub(tmp_path / "hub") as hub:
        receiver.respond("*", regex(".*"), text_response("ok"))
        hub.start()
        hub.listen_to(pbx)
        for stage in STAGES:
            hub.webhook(f"incoming.{stage}", f"{receiver.url}/{stage}", parameters=BODY)
        caller.dial("5550100")
        employee.accept()
        caller.await_established()
        caller.hangup()

        def arrived() -> None:
            # one webhook each: what came at the same time is sent side by side
            assert sorted(request.path for request in receiver.requests) == sorted(f"/{one}" for one in STAGES), hub.log

        await_until(arrived)
        for request in receiver.requests:
            assert (request.json("caller"), request.json("dst")) == ("79161234567", "5550100")
        assert [
            receiver.last_request("/pickup").json("extension"),
            receiver.last_request("/after").json("disposition"),
        ] == [
            "101",
            "ANSWERED",
        ]
        await_until(lambda: {one.state for one in hub.deliveries()} == {"delivered"})
