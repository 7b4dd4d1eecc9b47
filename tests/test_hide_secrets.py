"""Somebody looks at an attempt, an export or a log: no secret is in it."""

import subprocess
import sys
from base64 import b64encode

import pytest
from sqlalchemy import select

from pbxhub.delivery.worker import Worker
from pbxhub.redaction import HIDDEN, redact_body, redact_headers, redact_text, redact_url, scrub, scrub_bytes
from pbxhub.sending.address_guard import AddressGuard, endpoints
from pbxhub.sending.engine import Engine
from pbxhub.sending.webhook_signatures import SigningKeys, new_key, seal_keys
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import FAILED, Attempt
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.receivers.receiver import Received, Receiver, Reply
from pbxhub.webhooks.spec import Auth, RequestSpec, WebhookSpec
from tests.support.outbox_world import BEFORE, VAULT, World, context_of, report
from tests.support.waiting import wait_until

SIGNED = seal_keys(VAULT, SigningKeys(new_key()))


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "X-API-KEY",
        "X-Auth-Token",
        "api_key",
        "Private-Token",
        "X-Hub-Secret",
        "X-Shop-Key",
        "Key",
        "x-access-key",
    ],
)
def test_values_of_credential_headers_are_hidden(name: str) -> None:
    assert redact_headers([(name, "hush")]) == ((name, HIDDEN),)


def test_other_headers_and_signatures_stay_readable() -> None:
    pairs = (
        ("Content-Type", "application/json"),
        ("webhook-signature", "v1,abc="),
        ("webhook-id", "msg_1"),
        ("X-Name", "Olena"),
    )
    assert redact_headers(pairs) == pairs


def test_the_header_a_user_named_for_the_secret_is_hidden_in_any_letter_case() -> None:
    assert redact_headers([("X-CRM", "hush"), ("X-Other", "a")], also=["x-crm"]) == (
        ("X-CRM", HIDDEN),
        ("X-Other", "a"),
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "https://api.telegram.org/bot123:AAbc-def/sendMessage?chat_id=5",
            "https://api.telegram.org/•••/sendMessage?chat_id=5",
        ),
        ("https://hooks.slack.com/services/T1/B2/X3", "https://hooks.slack.com/services/•••"),
        ("https://hooks.zapier.com/hooks/catch/123/abc/", "https://hooks.zapier.com/hooks/catch/•••"),
        (
            "https://p.bitrix24.com/rest/1/k3slf9/crm.lead.add.json",
            "https://p.bitrix24.com/rest/1/•••/crm.lead.add.json",
        ),
        ("https://hook.eu1.make.com/abcd", "https://hook.eu1.make.com/•••"),
        ("https://n8n.example/webhook/550e8400-e29b-41d4-a716-446655440000", "https://n8n.example/webhook/•••"),
        (
            "https://a.example/mp/collect?measurement_id=G-1&api_secret=hush",
            "https://a.example/mp/collect?measurement_id=G-1&api_secret=•••",
        ),
        ("https://g.example/v1?access_token=hush&x=1", "https://g.example/v1?access_token=•••&x=1"),
        ("https://a.example/?key=hush", "https://a.example/?key=•••"),
        ("https://eve:hush@a.example/x", "https://•••@a.example/x"),
    ],
)
def test_keys_in_urls_are_hidden(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "https://crm.example.com/api/v4/calls?phone=380441234567&monkey=1",
        "https://averylonghostname1234567890.example.com/calls/380441234567890123",
        "http://11.111.111.11:80/a/b?utm_source=google",
    ],
)
def test_ordinary_urls_stay_readable(url: str) -> None:
    assert redact_url(url) == url


def test_the_query_parameter_a_user_named_for_the_secret_is_hidden() -> None:
    assert (
        redact_url("https://a.example/?x=1&my%20door=hush", also=["my door"]) == "https://a.example/?x=1&my%20door=•••"
    )


def test_a_known_secret_is_found_in_every_encoding() -> None:
    text = "p@ss w/rd, p%40ss%20w%2Frd, p%40ss+w%2Frd, cEBzcyB3L3Jk and the rest"
    assert scrub(text, ["p@ss w/rd"]) == "•••, •••, •••, ••• and the rest"
    assert scrub_bytes(b"\xff p@ss w/rd \x00", ["p@ss w/rd"]) == b"\xff " + HIDDEN.encode() + b" \x00"


def test_of_two_secrets_with_a_common_beginning_nothing_is_left() -> None:
    assert scrub("hush-hush hush", ["hush", "hush-hush"]) == "••• •••"


@pytest.mark.parametrize(
    ("auth", "sent"),
    [
        (Auth("basic", username="eve"), b64encode(b"eve:p@ss w/rd").decode()),
        (Auth("query", name="door"), "p%40ss%20w%2Frd"),
        (Auth("bearer"), "p@ss w/rd"),
        (Auth("header", name="X-Door"), "p@ss w/rd"),
    ],
)
def test_credentials_arrive_but_are_not_stored_even_if_the_receiver_sends_them_back(
    database: Database, auth: Auth, sent: str
) -> None:
    def echo(received: Received) -> Reply:
        text = f"{received.path} {received.headers}"
        return Reply(body=text.encode(), headers=(("X-Echo", text),))

    world = World(database)
    with Receiver(echo) as receiver:
        what = WebhookSpec(RequestSpec(url=receiver.url, auth=auth))
        world.webhook(BEFORE, what, secret_sealed=VAULT.seal("p@ss w/rd"))
        guard = AddressGuard(allowed_endpoints=endpoints("127.0.0.1", receiver.port))
        worker = Worker(context_of(database), Engine(guard))
        worker.start()
        world.publish(report("1.1", BEFORE), now=utc_now())
        (request,) = receiver.wait_for(1)
        worker.stop()
    assert sent in f"{request.path} {request.headers}"
    with database.read() as session:
        attempt = session.scalars(select(Attempt)).one()
        stored = f"{attempt.request_headers} {attempt.response_headers} {attempt.message} {attempt.response_body!r}"
    (delivery,) = world.deliveries()
    stored += f"{delivery.url} {delivery.headers}"
    assert HIDDEN in stored
    for secret in (sent, "p@ss w/rd"):
        assert secret not in stored


@pytest.mark.parametrize("sealed", [{"secret_sealed": VAULT.seal("new token")}, {"signing_sealed": SIGNED}])
def test_a_request_made_for_the_old_host_does_not_leave_with_a_secret_of_the_new_one(
    database: Database, sealed: dict[str, str]
) -> None:
    world = World(database)
    auth = Auth("bearer" if "secret_sealed" in sealed else "none")
    with Receiver() as old:
        webhook_id = world.webhook(BEFORE, WebhookSpec(RequestSpec(url=old.url, auth=auth)), **sealed)
        world.publish(report("1.1", BEFORE), now=utc_now())
        with database.write() as session:
            row = session.get_one(Webhook, webhook_id)
            row.spec = WebhookSpec(RequestSpec(url="https://crm.example.com/", auth=auth))
            touch_webhooks(session, world.project_id)
        worker = Worker(context_of(database), Engine(AddressGuard(allowed_endpoints=endpoints("127.0.0.1", old.port))))
        worker.start()
        wait_until(lambda: world.deliveries()[0].state == FAILED)
        worker.stop()
        assert old.connections == 0
    assert "changed to another host" in world.deliveries()[0].message


BODIES = (
    '{"api_key": "hush", "a": 1}', '{"auth": {"login": ["hush"]}}', '{"token": "hush, and cut', '{"auth": {"a": "hush',
    "a=1&password=hush&b=2", "<r><token>hush</token></r>", "<a secret='hush'/>", "Authorization: Bearer hush\r\n",
    "POST / HTTP/1.1\r\nX-Api-Key: hush\r\n\r\n{\"pwd\": \"hush\"}",
    r'{"u": "https:\/\/api.telegram.org\/bot123:hush\/x"}',
    '{"text": "{\\"secret\\": \\"hush\\"}"}', "see https://a.example/?access_token=hush", '{"secret": 1234567}',
)  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_a_secret_in_a_body_of_any_format_is_hidden(body: str) -> None:
    for shown in (redact_body(body.encode()).decode(), redact_text(body)):
        assert "hush" not in shown
        assert "1234567" not in shown
        assert HIDDEN in shown


@pytest.mark.parametrize("levels", [101, 5000])
def test_a_body_too_deep_to_be_read_is_hidden_whole(levels: int) -> None:
    assert redact_body(b"[" * levels + b'{"tokens": ["hush"]}' + b"]" * levels) == HIDDEN.encode()


@pytest.mark.parametrize("body", [b'{ "name":"Ann", "code": "12", "keyboard": 1 }', b"a=1&b=2", b"\xff\x00", b""])
def test_a_body_without_secrets_stays_as_it_is(body: bytes) -> None:
    assert redact_body(body) == body


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["json", "text"])
def test_no_secret_gets_into_the_log_not_even_in_a_traceback(kind: str) -> None:
    program = (
        "import structlog; from pbxhub.logs import configure_logs; configure_logs('%s', 'info')\n"
        "log = structlog.get_logger('x')\n"
        "try:\n    raise ValueError('https://a.example/?token=hush')\n"
        "except ValueError:\n    log.exception('broke', url='https://api.telegram.org/bot123:hush/x', api_key='hush')\n"
    )
    done = subprocess.run([sys.executable, "-c", program % kind], capture_output=True, text=True, timeout=60)
    line = next(line for line in program.splitlines() if "raise" in line).strip()
    assert "ValueError" in done.stderr
    assert "hush" not in done.stderr.replace(line, "")
