"""Real SIP phones for tests: agents that register, dial, answer, hold, transfer and send digits.

Each agent is a baresip process of its own with its own address, ended with the test, also when the test crashes.
"""

import re
import shutil
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pbxhub.testing.pbx.loopback import LoopbackNetwork
from pbxhub.testing.phones.baresip import Baresip, Listening, PhoneFailedError
from pbxhub.testing.phones.call_quality import Quality
from pbxhub.testing.phones.hearing import Hearing
from pbxhub.testing.phones.phone_call import Call, State
from pbxhub.testing.phones.sip_account import Account, address_towards
from pbxhub.testing.phones.sip_refusal import refuse, status_of
from pbxhub.testing.phones.sip_trace import SipMessage, read_trace
from pbxhub.testing.phones.tones import SoundFile, Tone, device_of
from pbxhub.testing.processes import free_port
from pbxhub.testing.waiting import await_until


class Agent:
    """A softphone with one account. Commands act on the newest call that is not closed; see `calls` for all.

    username, domain, password: the SIP account; registers when a password is given.
    address: the local address it lives on; by default one of its own on loopback, or the one that leads to the PBX.
    port: of SIP there; by default 5060 on loopback and a free one elsewhere.
    auto_answer: takes every call at once.
    """

    def __init__(
        self,
        username: str,
        domain: str,
        password: str = "",
        *,
        address: str | None = None,
        port: int | None = None,
        display_name: str = "",
        transport: Literal["udp", "tcp"] = "udp",
        auto_answer: bool = False,
    ) -> None:
        account = Account(username, domain, password, display_name, transport, auto_answer)
        self.username = username
        self.domain = domain
        self._uri_parameters = account.uri_parameters
        self.calls: list[Call] = []
        self._changed = threading.RLock()
        self._registration = ""
        self._closed = False
        self._network = LoopbackNetwork()  # of its control wire, and its own address when the PBX is on loopback
        try:
            self.address = address or _home(address_towards(domain), self._network)
            where = Listening(self.address, port or _port_at(self.address), self._network.address(1))
            self._baresip = Baresip(where, self._hear)
            self._baresip.command("uanew", account.line)
            if password:
                self.register()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Agent":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"agent {self.username}"

    def close(self) -> None:
        """Ends the phone and its calls."""
        self._closed = True
        if hasattr(self, "_baresip"):
            self._baresip.close()
        self._network.close()
        with self._changed:
            for call in self.calls:
                if call.state != "closed":
                    call.state, call.reason = "closed", "the phone was closed"

    # --- what it does

    def register(self, within: str | float = "30s") -> None:
        """Waits until the PBX has taken the registration; raises PhoneFailedError with its answer otherwise."""

        def registered() -> None:
            if self._registration and not self._registration.startswith("2"):
                raise PhoneFailedError(f"{self} cannot register at {self.domain}: {self._registration}")
            assert self._registration, f"{self} has no answer to its REGISTER from {self.domain}"

        try:
            await_until(registered, within)
        except AssertionError as error:
            raise PhoneFailedError(f"{self} cannot register at {self.domain}: {error}") from None

    def listen_as(self, number: str) -> None:
        """Takes calls to one more number: the far end of a trunk needs every number that is dialled over it."""
        self._baresip.command("uanew", f"<sip:{number}@{self.domain}>;regint=0;audio_codecs=PCMU/8000/1")

    def dial(self, target: "Agent | str") -> Call:
        """Starts a call to an agent or a number and returns at once; await its state."""
        number = target.username if isinstance(target, Agent) else target
        with self._changed:
            call = Call(f"sip:{number}@{self.domain}", outgoing=True)
            self.calls.append(call)
        self._baresip.command("dial", call.peer + self._uri_parameters)
        return call

    def accept(self, within: str | float = "30s") -> Call:
        """Waits for an incoming call, answers it, and returns when it is established."""
        call = self.await_incoming(within)
        self._at(call, "accept")
        return self.await_established(within)

    def await_incoming(self, within: str | float = "30s") -> Call:
        """The call that rings here, as soon as one does."""
        return self._await("incoming", within)

    def await_ringing(self, within: str | float = "30s") -> Call:
        """Waits until the far end rings."""
        return self._await("ringing", within)

    def await_established(self, within: str | float = "30s") -> Call:
        """Waits until both sides talk."""
        return self._await("established", within)

    def await_closed(self, within: str | float = "30s") -> Call:
        """Waits until the last call is over."""

        def closed() -> Call:
            assert self.state == "closed", f"{self} is {self.state}, not closed"
            return self.calls[-1]

        return await_until(closed, within)

    def hangup(self) -> None:
        """Ends the call; cancels it while it is being dialled; answers 486 while it rings here."""
        call = self.call
        if call.state == "dialing":  # before the first answer the PBX could not know which call is meant
            await_until(lambda: call.state != "dialing")
        if call.state != "closed":
            self._at(call, "hangup")

    def respond_incoming(self, status: int, reason: str = "", within: str | float = "30s") -> Call:
        """Waits for an incoming call and refuses it with a status of 300 to 699; returns when it is closed."""
        return self._refuse(status_of(status, reason), "", within)

    def deflect(self, target: "Agent | str", within: str | float = "30s") -> Call:
        """Waits for an incoming call and sends it on (302) to an agent, a number or a SIP address."""
        number = target.username if isinstance(target, Agent) else target
        contact = number if number.startswith("sip:") else f"sip:{number}@{self.domain}"
        return self._refuse(status_of(302, ""), contact, within)

    def hold(self) -> None:
        """Puts the call on hold."""
        self._at(self.call, "hold")

    def resume(self) -> None:
        """Takes the call off hold."""
        self._at(self.call, "resume")

    def mute(self) -> None:
        """Turns the microphone off; on again when it was off."""
        self._at(self.call, "mute")

    def dtmf(self, digits: str) -> None:
        """Sends digits (0-9 * #) as RFC 4733 events."""
        self._at(self.call, "sndcode", digits)

    def transfer(self, target: "Agent | str") -> None:
        """Blind transfer of the call (REFER)."""
        number = target.username if isinstance(target, Agent) else target
        self._at(self.call, "transfer", f"sip:{number}@{self.domain}")

    def attended_transfer(self, target: "Agent | str") -> "Consultation":
        """Puts the call on hold and dials the target; the answer completes or aborts the transfer."""
        first = self.call
        self.hold()
        return Consultation(self, first, self.dial(target))

    def send_audio(self, source: Tone | SoundFile) -> None:
        """Sends tone(1000) or file("hello.wav") from now on; a phone begins with a tone of 440 Hz."""
        self._at(self.call, "ausrc", device_of(source, self._baresip.folder))

    def verify_audio(self, hertz: float, within: str | float = "5s") -> None:
        """Waits until the tone is what this agent hears from now on in a call that is up.

        Fails with what there was otherwise. Not after hold(): baresip records no more in that call.
        """
        __tracebackhide__ = True

        hearing = Hearing(self._baresip.heard)

        def heard() -> None:
            assert self.state == "established", f"{self} is {self.state}, not established: there is nothing to hear"
            hearing.check(self._baresip.heard, hertz, self)

        await_until(heard, within)

    def save_audio(self, folder: Path) -> list[Path]:
        """Copies what was heard into the folder, a WAV file per call; returns them."""
        folder.mkdir(parents=True, exist_ok=True)
        copies = [folder / f"{self.username}-{path.name}" for path in self._baresip.heard]
        for path, copy in zip(self._baresip.heard, copies, strict=True):
            shutil.copy(path, copy)
        return copies

    # --- what it sees

    @property
    def registered(self) -> bool:
        """Whether the PBX has taken the last registration."""
        return self._registration.startswith("2")

    @property
    def quality(self) -> Quality | None:
        """How the newest call sounded here; None while there was none of at least 5 seconds."""
        measured = [call.quality for call in self.calls if call.quality]
        return measured[-1] if measured else None

    @property
    def call(self) -> Call:
        """The newest call that is not closed, or the last one; raises AssertionError when there was none."""
        assert self.calls, f"{self} has no call"
        return next((call for call in reversed(self.calls) if call.state != "closed"), self.calls[-1])

    @property
    def state(self) -> State:
        """idle, dialing, ringing, incoming, established or closed."""
        return self.call.state if self.calls else "idle"

    @property
    def reason(self) -> str:
        """Why the last call closed."""
        return self.call.reason

    @property
    def status_code(self) -> int | None:
        """The SIP status that closed the last call; None after an ordinary hang-up."""
        return self.call.status_code

    @property
    def received_dtmf(self) -> str:
        """The digits the far end pressed in this call."""
        return "".join(self.call.dtmf)

    @property
    def peer(self) -> str:
        """The number of the far end."""
        return re.sub(r"^sip:|@.*$", "", self.call.peer)

    @property
    def trace(self) -> list[SipMessage]:
        """Every SIP message this agent sent and received."""
        return read_trace(self._baresip.trace)

    def header(self, name: str) -> str | None:
        """A header of the last INVITE that reached this agent; None when it is not there."""
        invites = [m for m in self.trace if m.first_line.startswith("INVITE ") and m.target.startswith(self.address)]
        return invites[-1].header(name) if invites else None

    # --- inside

    def _await(self, state: State, within: str | float) -> Call:
        def reached() -> Call:
            found = [call for call in self.calls if call.state == state]
            if self._closed:
                raise PhoneFailedError(f"{self} has been closed: its calls are over and no other comes")
            if not found and self.state == "closed" and state != "incoming":
                raise PhoneFailedError(f"the call of {self} ended ({self.reason}) before it was {state}")
            assert found, f"{self} is {self.state}, not {state}"
            return found[-1]

        return await_until(reached, within)

    def _refuse(self, status: str, contact: str, within: str | float) -> Call:
        call = self.await_incoming(within)
        refuse(await_until(lambda: self._ringing(call), "5s"), self.address, status, contact)
        call.answered_with = status
        self._at(call, "hangup")

        def closed() -> None:
            assert call.state == "closed", f"{self} has answered {status} and is {call.state}"

        await_until(closed, within)
        return call

    def _ringing(self, call: Call) -> SipMessage:
        """The 180 with which this phone reported that it is ringing."""
        for message in self.trace:
            if message.first_line.startswith("SIP/2.0 180 ") and message.header("Call-ID") == call.id:
                return message
        raise AssertionError(f"{self} has not told yet that it rings")

    def _at(self, call: Call, command: str, params: str = "") -> None:
        """Commands of baresip act on its current call; this makes ours the current one."""
        if call.id and sum(other.state != "closed" for other in self.calls) > 1:
            self._baresip.command("callfind", call.id)
        self._baresip.command(command, params)

    def _hear(self, event: Mapping[str, Any]) -> None:
        kind, param = str(event.get("type", "")), str(event.get("param", ""))
        with self._changed:
            if kind in ("REGISTER_OK", "REGISTER_FAIL"):
                self._registration = param or "no answer"
            elif kind.startswith("CALL_") and event.get("id"):
                self._call_of(event).hear(event)

    def _call_of(self, event: Mapping[str, Any]) -> Call:
        for call in self.calls:
            if call.id == event["id"]:
                return call
        peer, outgoing = str(event.get("peeruri", "")).partition(";")[0], event.get("direction") == "outgoing"
        for call in self.calls:
            if outgoing and call.outgoing and not call.id and call.peer == peer:
                call.id = event["id"]
                return call
        self.calls.append(Call(peer, outgoing, event["id"]))
        return self.calls[-1]


class Consultation:
    """The second call of an attended transfer, until it is completed or aborted."""

    def __init__(self, agent: Agent, first: Call, second: Call) -> None:
        self.first = first
        self.second = second
        self._agent = agent

    def complete(self) -> None:
        """Connects the two (REFER with Replaces); also while the target still rings."""
        dialog = self._dialog()
        replaces = f"{dialog.header('Call-ID')}%3Bto-tag%3D{dialog.tag('To')}%3Bfrom-tag%3D{dialog.tag('From')}"
        self._agent._at(self.first, "transfer", f"<{self.second.peer}?Replaces={replaces}>")

    def abort(self) -> None:
        """Hangs up the consultation and takes the first call back."""
        if self.second.state != "closed":
            self._agent._at(self.second, "hangup")
            await_until(lambda: self.second.state == "closed", "5s")
        self._agent._at(self.first, "resume")

    def _dialog(self) -> SipMessage:
        """The last answer of the PBX in the consultation's dialog: it bears both tags."""

        def of_dialog(message: SipMessage) -> bool:
            answer = message.first_line.startswith("SIP/2.0 ") and (message.header("CSeq") or "").endswith("INVITE")
            return answer and message.header("Call-ID") == self.second.id and bool(message.tag("To"))

        def answered() -> SipMessage:
            said = [message for message in self._agent.trace if of_dialog(message)]
            assert said, "the PBX has not answered the consultation call"
            return said[-1]

        return await_until(answered, "5s")


def agent(username: str, domain: str, password: str = "", **options: Any) -> Agent:
    """An Agent; the options are those of its constructor. Use it as a context manager, or close() it."""
    return Agent(username, domain, password, **options)


def _home(address: str, network: LoopbackNetwork) -> str:
    """Where a phone lives whose packets to the PBX leave from the address: on loopback an address of its own."""
    return network.address(2) if address.startswith("127.") else address


def _port_at(address: str) -> int:
    if address.startswith("127."):
        return 5060
    return free_port(address=address, kind=socket.SOCK_DGRAM)
