"""What sending one request costs: the hub's engine beside requests.Session, HTTPAdapter and pycurl, in one run.

python bench/sender.py [--requests N]. The receiver runs in a process of its own on the other core. Medians of three.
"""

import argparse
import ipaddress
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import pycurl
import requests
from requests.adapters import HTTPAdapter

from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.engine import Engine
from pbxhub.sending.exchange import Outgoing
from pbxhub.webhooks.request import Request

BODY = b'{"caller":"380441234567","status":"ANSWERED","billsec":57,"extension":"101","recording":"https://pbx/r/1"}' * 2
HEADERS = (
    ("Content-Type", "application/json"),
    ("webhook-id", "msg_0198c0ffee"),
    ("webhook-timestamp", "1763856000"),
    ("webhook-signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
)
LOOPBACK = AddressGuard(allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),))
RECEIVER = """
import sys
from pbxhub.testing.receivers.receiver import Receiver, Reply
delay = float(sys.argv[1])
with Receiver(lambda _: Reply(delay=delay)) as receiver:
    print(receiver.port, flush=True)
    sys.stdin.read()
"""


@contextmanager
def receiver(delay: float) -> Iterator[str]:
    """URL of a receiver in another process that answers after `delay` seconds."""
    command = [sys.executable, "-c", RECEIVER, str(delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/hook"
        process.communicate()


def engine(url: str, count: int, at_once: int, pools: int = 20) -> None:
    sender: Engine[int] = Engine(LOOPBACK, capacity=at_once)
    outgoing = [Outgoing(Request("POST", url, HEADERS, BODY), f"webhook:{number}") for number in range(pools)]
    started = done = 0
    while done < count:
        while started < count and sender.in_flight < at_once:
            sender.start(outgoing[started % pools], started)
            started += 1
        for _, answer in sender.finished():
            assert answer.outcome == "ok", answer
            done += 1
    sender.close()


def on_threads(count: int, at_once: int, new_sender: Callable[[], Callable[[], None]]) -> None:
    """Each thread makes its own sender and takes its share."""

    def run(share: int) -> None:
        send = new_sender()
        for _ in range(share):
            send()

    threads = [threading.Thread(target=run, args=(count // at_once,)) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def session(url: str, count: int, at_once: int) -> None:
    def new_sender() -> Callable[[], None]:
        one = requests.Session()
        return lambda: one.post(url, data=BODY, headers=dict(HEADERS), timeout=30).raise_for_status()

    on_threads(count, at_once, new_sender)


def adapter(url: str, count: int, at_once: int) -> None:
    def new_sender() -> Callable[[], None]:
        one = HTTPAdapter()
        prepared = requests.Request("POST", url, headers=dict(HEADERS), data=BODY).prepare()
        return lambda: one.send(prepared, timeout=30).raise_for_status()

    on_threads(count, at_once, new_sender)


def easy_handles(url: str, count: int, at_once: int) -> None:
    def new_sender() -> Callable[[], None]:
        one = pycurl.Curl()
        one.setopt(pycurl.NOSIGNAL, 1)
        one.setopt(pycurl.URL, url)
        one.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in HEADERS])
        one.setopt(pycurl.POSTFIELDS, BODY)
        return lambda: one.perform_rb() and None

    on_threads(count, at_once, new_sender)


def measure(name: str, send: Callable[[str, int, int], None], count: int, at_once: int, delay: float) -> None:
    """Prints requests per second and CPU of this process per request."""
    rates, costs = [], []
    with receiver(delay) as url:
        send(url, max(count // 10, at_once), at_once)
        for _ in range(3):
            wall, cpu = time.perf_counter(), time.process_time()
            send(url, count, at_once)
            costs.append((time.process_time() - cpu) / count * 1e6)
            rates.append(count / (time.perf_counter() - wall))
    print(f"{name:34s} {at_once:5d} at once {median(rates):8.0f} /s {median(costs):7.0f} us CPU each", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    count = parser.parse_args().requests
    print("A receiver that answers at once")
    for at_once in (1, 16, 64, 256):
        measure("engine", engine, count, at_once, 0)
    measure("requests.Session.post, threads", session, count // 5, 1, 0)
    measure("requests.Session.post, threads", session, count // 5, 16, 0)
    measure("HTTPAdapter.send, threads", adapter, count // 5, 16, 0)
    measure("bare pycurl, threads", easy_handles, count, 16, 0)
    print("A receiver that answers after 200 ms")
    for at_once in (500, 1000):
        measure("engine", engine, count, at_once, 0.2)
        measure("bare pycurl, threads", easy_handles, count, at_once, 0.2)
    measure("requests.Session.post, threads", session, count, 500, 0.2)


if __name__ == "__main__":
    main()
