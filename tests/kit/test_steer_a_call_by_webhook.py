"""The scenario of docs/testing/from-ringo-flow.md, and what the default route does when the webhook says no."""

import pytest

from pbxhub.testing import await_until, expect, json_response, text_response

pytestmark = pytest.mark.asterisk


@pytest.fixture
def hooks(hub, asterisk, mock_server):
    """A mock server that the DID 5550301 asks at /voice, set up by the hub's API."""
    server = mock_server()
    hub.steer(asterisk)
    tree = [{"name": "event", "type": "text", "value": "incoming_call"}]
    request = {"method": "POST", "url": f"{server.url}/voice", "parameters": tree}
    spec = {"request": request, "steering": {"reads": "actions", "wait": 5}}
    hub.client("write").add("/webhooks", {"name": "q01", "stage": "call.question", "spec": spec})
    return server


@pytest.fixture
def caller(asterisk, agent):
    return agent("380441234567", asterisk.address, address=asterisk.network.address(2))


def test_the_answer_takes_the_call_and_the_dialplan_goes_on(hooks, hub, asterisk, agent, caller, stages):
    def voice(request):
        kind = "answer" if request.json("event") == "incoming_call" else "hangup"
        return json_response({"actions": [{"type": kind}]})

    hooks.on("POST", "/voice", voice)
    callee = agent("101", asterisk.address, asterisk.secret)
    caller.dial("5550301")
    await_until(lambda: expect(hooks.request_count("/voice")).equals(1))
    expect(hooks.last_request("/voice").json("event")).equals("incoming_call")
    callee.accept()
    caller.await_established()
    caller.hangup()
    callee.await_closed()
    await_until(lambda: expect([stage.name for stage in stages()][-1:]).equals(["incoming.after"]))
    expect(next(stage.name for stage in stages())).equals("incoming.before")


def test_an_answer_that_cannot_be_read_takes_the_default_route(hooks, hub, asterisk, agent, caller):
    hooks.respond("POST", "/voice", text_response("not JSON"))
    callee = agent("102", asterisk.address, asterisk.secret)
    caller.dial("5550301")
    callee.accept()
    caller.hangup()
    (question,) = hub.deliveries("q01")
    expect(question.outcome).equals("steering_refused")
