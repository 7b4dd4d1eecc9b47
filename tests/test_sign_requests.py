"""A receiver verifies what arrives, with the libraries that receivers use."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks
import svix.webhooks

from pbxhub.sending.exchange import Outgoing
from pbxhub.sending.webhook_signatures import (
    SigningKeyError,
    SigningKeys,
    check_key,
    identify,
    new_key,
    open_keys,
    rotate,
    seal_keys,
)
from pbxhub.testing.receivers.receiver import Received, Receiver
from pbxhub.vault import Vault, VaultError
from pbxhub.webhooks.request import Request
from tests.support.sending import post, sender

BODIES = [
    b'{"caller":"380441234567","name":"\xd0\x9e\xd0\xbb\xd0\xb5\xd0\xbd\xd0\xb0"}',
    b"caller=%2B380441234567&billsec=57",
    b'<call id="1"><from>380</from></call>',
    b'{"jsonrpc":"2.0","method":"call","params":{},"id":1}',
    b"plain text\r\nwith lines",
    b"",
    b"\x00",
]


def current() -> datetime:
    """Now: the libraries accept a time of the last five minutes, and a run takes longer."""
    return datetime.now(UTC)


def deliver(
    receiver: Receiver, keys: SigningKeys | None, body: bytes, attempt: int = 1, now: datetime | None = None
) -> Received:
    """One attempt over the wire, and what has arrived of it."""
    request = Request("POST", receiver.url, (("Content-Type", "text/plain"),), body)
    headers = identify("msg_0198c0ffee", attempt, keys, now or current(), (request.body,))
    with sender() as one:
        outgoing = Outgoing(Request("POST", receiver.url, (*request.headers, *headers), body), "webhook:1")
        assert one.send(outgoing).outcome == "ok"
    return receiver.requests[-1]


def verifies(received: Received, key: str) -> bool:
    """By both libraries; they must agree."""
    headers = {name: value for name, value in received.headers if name.startswith("webhook-")}
    verdicts = set()
    for verify in (
        lambda: standardwebhooks.Webhook(key).verify(received.body, headers, json_parse=False),
        lambda: svix.webhooks.Webhook(key).verify(received.body, headers),
    ):
        try:
            verify()
            verdicts.add(True)
        except (standardwebhooks.WebhookVerificationError, svix.webhooks.WebhookVerificationError):
            verdicts.add(False)
    (verdict,) = verdicts
    return verdict


@pytest.mark.parametrize("body", BODIES)
def test_every_body_is_verified_by_the_libraries_of_receivers(body: bytes) -> None:
    key = new_key()
    with Receiver() as receiver:
        received = deliver(receiver, SigningKeys(key), body)
    assert verifies(received, key)
    assert not verifies(received, new_key())
    assert not verifies(Received("POST", "/", received.headers, body + b"x", 1, current()), key)


def test_a_binary_body_is_signed_byte_for_byte() -> None:
    key, body = new_key(), bytes(range(256))
    with Receiver() as receiver:
        received = deliver(receiver, SigningKeys(key), body)
    signed = f"{received.header('webhook-id')}.{received.header('webhook-timestamp')}.".encode() + received.body
    raw = base64.b64decode(key.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(raw, signed, hashlib.sha256).digest()).decode()
    assert received.header("webhook-signature") == f"v1,{expected}"


def test_a_retry_and_a_resend_keep_the_id_and_get_a_time_and_a_signature_of_their_own() -> None:
    key = new_key()
    with Receiver() as receiver:
        first = deliver(receiver, SigningKeys(key), b"{}", 1, current() - timedelta(minutes=2))
        second = deliver(receiver, SigningKeys(key), b"{}", 2, current())
    assert verifies(first, key)
    assert verifies(second, key)
    assert first.header("webhook-id") == second.header("webhook-id") == "msg_0198c0ffee"
    assert (first.header("webhook-attempt"), second.header("webhook-attempt")) == (None, "2")
    assert first.header("webhook-timestamp") != second.header("webhook-timestamp")
    assert first.header("webhook-signature") != second.header("webhook-signature")
    assert (second.header("webhook-timestamp") or "").isdigit()


def test_while_a_key_is_rotated_old_and_new_verify_and_after_a_day_only_the_new_one() -> None:
    old = SigningKeys(new_key())
    begun = current() - timedelta(hours=23, minutes=59)
    keys = rotate(old, begun)
    with Receiver() as receiver:
        received = deliver(receiver, keys, b"{}", now=current())
        assert (received.header("webhook-signature") or "").count(" ") == 1
        assert verifies(received, old.current)
        assert verifies(received, keys.current)
        later = rotate(old, current() - timedelta(hours=24))
        received = deliver(receiver, later, b"{}", now=current())
        assert not verifies(received, old.current)
        assert verifies(received, later.current)


def test_a_second_rotation_within_the_day_drops_the_oldest_key() -> None:
    first = SigningKeys(new_key())
    second = rotate(first, current())
    third = rotate(second, current())
    assert third.valid(current()) == (third.current, second.current)


def test_a_replayed_request_is_too_old_after_five_minutes() -> None:
    key = new_key()
    with Receiver() as receiver:
        assert not verifies(deliver(receiver, SigningKeys(key), b"{}", now=current() - timedelta(minutes=6)), key)


def test_an_unsigned_request_still_says_which_delivery_it_is() -> None:
    with Receiver() as receiver:
        received = deliver(receiver, None, b"{}")
    names = [name for name, _ in received.headers if name.startswith("webhook-")]
    assert names == ["webhook-id"]


def test_keys_are_made_random_and_long_enough() -> None:
    keys = {new_key() for _ in range(50)}
    assert len(keys) == 50
    for key in keys:
        check_key(key)
        assert len(base64.b64decode(key.removeprefix("whsec_"))) == 32


@pytest.mark.parametrize(
    "key",
    [
        "",
        "whsec_",
        "whsec_c2hvcnQ=",
        "hello",
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_****",
        base64.b64encode(bytes(32)).decode(),
    ],
)
def test_a_key_that_libraries_would_not_take_is_refused_with_a_sentence(key: str) -> None:
    with pytest.raises(SigningKeyError, match="24 to 64 random bytes"):
        check_key(key)
    with pytest.raises(SigningKeyError):
        rotate(SigningKeys(new_key()), current(), key or "x")


def test_keys_are_sealed_and_come_back_equal() -> None:
    vault = Vault(bytes(32))
    for keys in (SigningKeys(new_key()), rotate(SigningKeys(new_key()), current())):
        sealed = seal_keys(vault, keys)
        assert keys.current not in sealed
        assert "whsec_" not in sealed
        assert open_keys(vault, sealed) == keys
    assert open_keys(vault, "") is None
    with pytest.raises(VaultError):
        open_keys(Vault(bytes(31) + b"x"), sealed)


def test_the_signature_headers_leave_with_the_request_unchanged() -> None:
    keys = SigningKeys(new_key())
    with Receiver() as receiver, sender() as one:
        outgoing = post(receiver.url, b"{}", identify("msg_1", 1, keys, current(), (b"{}",)))
        one.send(outgoing)
        for name, value in outgoing.request.headers:
            assert receiver.requests[0].header(name) == value
