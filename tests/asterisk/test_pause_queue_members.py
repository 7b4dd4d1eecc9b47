"""A program pauses a member of a real queue by API, and a chain of webhooks does."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pbxhub.client import Client
from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.pbx.asterisk import Asterisk
from pbxhub.testing.phones.softphone import Agent
from pbxhub.testing.receivers.mock_answers import Answer, json_response
from pbxhub.testing.receivers.mock_request import MockRequest
from pbxhub.testing.receivers.mock_server import MockServer, regex
from pbxhub.testing.waiting import await_until
from pbxhub.webhooks.gallery import fill, find
from pbxhub.webhooks.spec import dump_spec
from tests.support.calling_user import KEY, CallingUser, give_key

pytestmark = pytest.mark.asterisk
Phone = Callable[..., Agent]


@pytest.fixture
def hub(pbx: Asterisk, tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub") as running:
        running.start()
        running.listen_to(CallingUser(pbx.host, pbx.port))
        give_key(running)
        yield running
    pbx.cli("queue unpause member PJSIP/101")


def is_paused(pbx: Asterisk) -> bool:
    (line,) = [line for line in pbx.cli("queue show support").splitlines() if "PJSIP/101" in line]
    return "(paused" in line


def result_of(hub: Hub, **wanted: Any) -> str:
    program = Client(hub.url, KEY)
    order = program.add("/queue-pauses", wanted)
    assert order["status"] == "waiting"

    def answered() -> str:
        now = program.get(f"/queue-pauses/{order['id']}")
        assert now["status"] != "waiting"
        return f"{now['status']} {now['message']}".strip()

    return await_until(answered, "30s")


def test_a_program_pauses_a_member_and_ends_the_pause(hub: Hub, pbx: Asterisk) -> None:
    assert result_of(hub, member="PJSIP/101", queue="support", reason="wrap up") == "paused"
    assert is_paused(pbx)
    assert "wrap up" in pbx.cli("queue show support")
    assert result_of(hub, member="PJSIP/101", paused=False) == "unpaused"
    assert not is_paused(pbx)
    missing = "not_found The PBX has no such member in this queue."
    assert result_of(hub, member="PJSIP/999", queue="support") == missing


def in_front_of(hub: Hub) -> Callable[[MockRequest], Answer]:
    """What a reverse proxy does: no webhook may reach the port of the hub itself."""

    def pass_on(request: MockRequest) -> Answer:
        names = ("X-API-KEY", "Content-Type", "Idempotency-Key")
        headers = {name: value for name in names if (value := request.header(name))}
        answer = requests.request(
            request.method, hub.url + request.target, headers=headers, data=request.body, timeout=20
        )
        return json_response(answer.json(), answer.status_code)

    return pass_on


def test_a_chain_pauses_the_phone_that_answered_and_has_the_result(
    hub: Hub, pbx: Asterisk, phone: Phone, outside: Phone
) -> None:
    item = find("queue-pause")
    assert item is not None
    with MockServer() as receiver, MockServer() as proxy:
        proxy.on("*", regex(".*"), in_front_of(hub))
        for ready in fill(item, {"host": "hub.example", "reason": "away"}):
            data = dump_spec(ready.spec)
            request = {"parameters": [], **data.pop("request")}
            request["url"] = request["url"].replace("https://hub.example", proxy.url)
            hub.webhook(ready.stage, request["url"], name=ready.name, secret=KEY, request=request, **data)
        receiver.respond("*", regex(".*"), json_response({"away": True}))
        hub.webhook("incoming.pickup", f"{receiver.url}/taken", on_success="Pause a queue member")
        hub.webhook("incoming.after", f"{receiver.url}/over", parameters={"pause": "<<webhook.saved.PAUSE>>"},
                    wait_for="Result of the pause")  # fmt: skip
        employee, caller = phone(101), outside()
        caller.dial("5550201")
        employee.accept()

        def paused() -> None:
            assert is_paused(pbx), [(one.webhook, one.state, one.outcome, one.status_code) for one in hub.deliveries()]

        await_until(paused, "30s")
        caller.hangup()
        await_until(lambda: receiver.last_request("/over").json("pause") == "paused", "30s")
