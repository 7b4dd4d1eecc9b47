"""Figures of call control on a real Asterisk: the hub over FastAGI beside Asterisk's own CURL(), in the same run.

python bench/steering.py [22|16] [CALLS]

Both do the same: a call comes in, the receiver is asked, its answer names the extension, that one is rung. Measured on
the wire of a SIP party that sends the INVITE, a receiver that notes when it was asked, and a phone that notes when it
rings: from INVITE to the request, and from the answer to the INVITE at the phone. Calls one after the other, the two
ways in turns. Then how many waiting calls one process holds: connections that Asterisk would open, all waiting at once.
"""

import os
import re
import resource
import socket
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pbxhub.store.agi_tokens import Tokens
from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.pbx.asterisk import Asterisk, running_asterisk

TIMEOUT = 5


class Receiver:
    """Answers every request with the extension; tells when the last one came and when its answer left."""

    def __init__(self, body: bytes, wait: float = 0.0) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.socket.getsockname()[1]
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        self.asked = self.answered = 0.0
        self.count = 0
        self.wait = wait
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        import selectors

        selector = selectors.DefaultSelector()
        selector.register(self.socket, selectors.EVENT_READ)
        due: list[tuple[float, socket.socket]] = []
        while True:
            for key, _ in selector.select(max(0.0, due[0][0] - time.perf_counter()) if due else None):
                if key.fileobj is self.socket:
                    connection, _ = self.socket.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(connection, selectors.EVENT_READ)
                elif not (data := key.fileobj.recv(65536)):  # type: ignore[union-attr]
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                elif data[:4] in (b"POST", b"GET "):
                    self.asked = time.perf_counter()
                    self.count += 1
                    due.append((self.asked + self.wait, key.fileobj))  # type: ignore[arg-type]
            while due and due[0][0] <= time.perf_counter():
                _, connection = due.pop(0)
                self.answered = time.perf_counter()
                connection.sendall(self.answer)


class Party:
    """A SIP address that speaks just enough: sends an INVITE, or notes one and refuses it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.seen: set[str] = set()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 5060))
        self.socket.settimeout(TIMEOUT)

    def invite(self, pbx: str, number: str, call_id: str) -> float:
        at = self.address
        body = f"v=0\r\no=- 1 1 IN IP4 {at}\r\ns=-\r\nc=IN IP4 {at}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"
        text = (
            f"INVITE sip:{number}@{pbx} SIP/2.0\r\nVia: SIP/2.0/UDP {self.address}:5060;branch=z9hG4bK{call_id}\r\n"
            f"From: <sip:38044@{self.address}>;tag=a{call_id}\r\nTo: <sip:{number}@{pbx}>\r\nCall-ID: {call_id}\r\n"
            f"CSeq: 1 INVITE\r\nContact: <sip:38044@{self.address}>\r\nMax-Forwards: 70\r\n"
            f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        began = time.perf_counter()
        self.socket.sendto(text.encode(), (pbx, 5060))
        return began

    def finish(self, pbx: str) -> None:
        """Reads the answers up to the final one and acknowledges it."""
        while True:
            text = self.socket.recv(65536).decode()
            status = int(text[8:11])
            if status < 200:
                continue
            lines = [line for line in text.split("\r\n") if re.match(r"(Via|From|To|Call-ID):", line, re.I)]
            target = re.search(r"To: .*?<(sip:[^>]+)>", text)[1]  # type: ignore[index]
            ack = "\r\n".join(
                [f"ACK {target} SIP/2.0", *lines, "CSeq: 1 ACK", "Max-Forwards: 70", "Content-Length: 0", "", ""]
            )
            self.socket.sendto(ack.encode(), (pbx, 5060))
            return

    def ring(self) -> float:
        """When the INVITE came; it is refused with 486. Other requests are answered 200."""
        while True:
            data, peer = self.socket.recvfrom(65536)
            at, text = time.perf_counter(), data.decode()
            if text.startswith(("SIP/", "ACK")):
                continue
            kept = [line for line in text.split("\r\n") if re.match(r"(Via|From|Call-ID|CSeq):", line, re.I)]
            to = re.search(r"^To: .*", text, re.M)[0].rstrip("\r")  # type: ignore[index]
            call_id = re.search(r"^Call-ID: (.*)", text, re.M | re.I)[1]  # type: ignore[index]
            refused = text.startswith("INVITE")
            again = refused and call_id in self.seen
            self.seen.add(call_id)
            first = "SIP/2.0 486 Busy Here" if refused else "SIP/2.0 200 OK"
            self.socket.sendto("\r\n".join([first, *kept, f"{to};tag=b", "Content-Length: 0", "", ""]).encode(), peer)
            if refused and not again:
                return at


def one_call(
    pbx: Asterisk, caller: Party, phone: Party, receiver: Receiver, did: str, number: int
) -> tuple[float, float] | None:
    """Milliseconds from INVITE to request, and from answer to the INVITE at the phone. None: the phone did not ring."""
    began = caller.invite(pbx.address, did, f"bench{os.getpid()}x{number}")
    try:
        rang = phone.ring()
    except TimeoutError:
        return None
    finally:
        asked, answered = receiver.asked, receiver.answered
        caller.finish(pbx.address)
    return (asked - began) * 1000, (rang - answered) * 1000


def show(name: str, values: list[float]) -> None:
    ordered = sorted(values)
    print(f"  {name:38} p50 {statistics.median(ordered):6.2f} ms   p99 {ordered[int(len(ordered) * 0.99) - 1]:6.2f} ms")


def latency(pbx: Asterisk, hub: Hub, calls: int) -> None:
    receiver = Receiver(b"151")
    hub.webhook(
        "call.question",
        f"http://127.0.0.1:{receiver.port}/",
        name="q01",
        steering={"reads": "number", "numbers": ["151"]},
    )
    pbx.cli(f"dialplan set global LAB_URL http://127.0.0.1:{receiver.port}/")
    caller, phone = Party(pbx.network.address(9)), Party(pbx.network.address(151))
    hub_times: list[tuple[float, float]] = []
    curl_times: list[tuple[float, float]] = []
    for number in range(calls + 20):
        for did, times in (("5550301", hub_times), ("5550401", curl_times)):
            if measured := one_call(pbx, caller, phone, receiver, did, 2 * number + (times is curl_times)):
                times.append(measured)
    lost = [calls + 20 - len(times) for times in (hub_times, curl_times)]
    load = os.getloadavg()[0]
    print(f"Asterisk {pbx.version}, {calls} calls each way, in turns; load {load:.1f} on {os.cpu_count()} cores")
    print(f"  calls that took the default route instead: hub {lost[0]}, CURL() {lost[1]}")
    for name, times in (("hub", hub_times[20:]), ("CURL()", curl_times[20:])):
        show(f"{name}: INVITE to request", [one for one, _ in times])
        show(f"{name}: answer to INVITE at the phone", [other for _, other in times])
        show(f"{name}: both", [sum(pair) for pair in times])


def waiting(hub: Hub, path: str, number: int) -> None:
    receiver = Receiver(b"151", wait=15)
    hub.webhook(
        "call.question",
        f"http://127.0.0.1:{receiver.port}/",
        name="slow",
        steering={"reads": "number", "wait": 30, "numbers": ["151"]},
    )
    before = _memory(hub.pid)
    calls = []
    began = time.perf_counter()
    for index in range(number):
        call = socket.create_connection(("127.0.0.1", hub.agi_port))
        header = {"network_script": path, "uniqueid": f"w.{index}", "callerid": "1", "dnid": "2", "arg_1": "slow"}
        call.sendall("".join(f"agi_{name}: {value}\n" for name, value in header.items()).encode() + b"\n")
        call.sendall(b"200 result=1\n" * 20)
        calls.append(call)
        while len(calls) - receiver.count > 200 and time.perf_counter() - began < 40:  # as calls come in: not at once
            time.sleep(0.01)
    while receiver.count < number and time.perf_counter() - began < 40:
        time.sleep(0.05)
    took, memory = time.perf_counter() - began, _memory(hub.pid)
    done = 0
    for call in calls:
        call.settimeout(30)
        text = b""
        with suppress(OSError):
            while b"Local/151@" not in text and (chunk := call.recv(65536)):
                text += chunk
        done += b"Local/151@" in text
        call.close()
    print(f"{receiver.count} of {number} calls waiting at once in one process, all asked {took:.1f} s after the first;")
    print(f"  {(memory - before) / max(1, receiver.count):.0f} KB each; {done} got their answer carried out")


def _memory(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]


def main() -> None:
    version, calls = int(sys.argv[1]) if len(sys.argv) > 1 else 22, int(sys.argv[2]) if len(sys.argv) > 2 else 300
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with tempfile.TemporaryDirectory() as folder, running_asterisk(version) as pbx, Hub(Path(folder)) as hub:
        pbx_id = hub.start().listen_to(pbx)
        path = Tokens(hub._vault).path(pbx_id)
        pbx.cli(f"dialplan set global PBXHUB_AGI agi://127.0.0.1:{hub.agi_port}/{path}")
        latency(pbx, hub, calls)
        waiting(hub, path, 1500)


if __name__ == "__main__":
    main()
