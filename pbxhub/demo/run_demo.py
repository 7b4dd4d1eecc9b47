"""Runs the demo: the built-in PBX plays calls, the receiver accepts what the webhooks send."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv4Address
from itertools import cycle

from pbxhub.demo.demo_project import Endpoints, prepare_demo
from pbxhub.demo.receiver import DemoReceiver
from pbxhub.sending.address_guard import Endpoint
from pbxhub.store.session import Database
from pbxhub.testing.pbx.played_pbx import PlayedPbx
from pbxhub.testing.pbx.recordings import shipped
from pbxhub.testing.receivers.receiver import Received
from pbxhub.threads import beside
from pbxhub.vault import Vault

_PAUSE = 4.0  # seconds between the starts of two calls, so that some overlap


@contextmanager
def showing(
    database: Database, vault: Vault, receiver_port: int, on_received: Callable[[Received], None]
) -> Iterator[frozenset[Endpoint]]:
    """Plays calls while the context is open. Yields the receiver's endpoint, which the address guard must allow.

    Raises OSError when receiver_port is in use.
    """
    shown = DemoReceiver(on_received, receiver_port)
    with shown.receiver as receiver, PlayedPbx() as pbx:
        with database.write() as session:
            endpoints = Endpoints(pbx.port, pbx.username, pbx.secret, receiver.url)
            prepare_demo(session, vault, endpoints, datetime.now(UTC))
        with beside(partial(_play, pbx), "demo"):
            yield frozenset({Endpoint(IPv4Address("127.0.0.1"), receiver.port)})


def _play(pbx: PlayedPbx, stop: threading.Event) -> None:
    """Plays the recordings in turn, each in real time on its own thread; none while no listener is connected."""
    for recording in cycle(shipped()):
        while not pbx.listeners:
            if stop.wait(0.2):
                return
        threading.Thread(target=pbx.play, args=(recording, 1.0), name="demo call", daemon=True).start()
        if stop.wait(_PAUSE):
            return
