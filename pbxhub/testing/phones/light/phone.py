"""A light SIP phone: one UDP socket, any number of calls. It registers when it has a password.

A phone without a password is the outside world behind a trunk: it calls from any number and accepts calls to any.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any

from pbxhub.testing.phones.light import wire
from pbxhub.testing.phones.light.leg import Leg, LegEvent
from pbxhub.testing.phones.light.voice import EVERY
from pbxhub.testing.phones.sip_trace import SipMessage

_PAUSES = (0.5, 1.0, 2.0, 4.0, 4.0, 4.0)  # seconds between repetitions of a request without an answer
_LONGEST_RING = 60.0  # seconds to wait for the final response to an INVITE
Saw = Callable[[LegEvent, Leg], None]


class LightPhone(asyncio.DatagramProtocol):
    """saw is called with each event that the phone sees, when it happens."""

    def __init__(self, number: str, address: str, pbx: str, password: str, saw: Saw) -> None:
        self.number, self.address, self.pbx, self.password, self.saw = number, address, pbx, password, saw
        self.legs: list[Leg] = []
        self._wire: asyncio.DatagramTransport | None = None
        self._waiting: dict[str, asyncio.Queue[SipMessage]] = {}
        self._replies: dict[tuple[str, str], str] = {}
        self._over: dict[str, Leg] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def uri(self) -> str:
        """Its SIP address on the PBX."""
        return f"sip:{self.number}@{self.pbx}"

    async def start(self) -> None:
        """Opens the socket and registers. Raises AssertionError when the PBX refuses."""
        loop = asyncio.get_running_loop()
        self._wire, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.address, 5060))
        self.start_task(self._speak())
        await self.register()

    async def register(self) -> None:
        """Registers at the PBX; call it again after a restart of the PBX. Without a password it does nothing."""
        if not self.password:
            return
        call_id, tag, credentials = wire.token(), wire.token(), ""
        for cseq in (1, 2):
            lines = [
                f"Via: SIP/2.0/UDP {self.address}:5060;branch=z9hG4bK{wire.token()};rport",
                f"From: <{self.uri}>;tag={tag}", f"To: <{self.uri}>", f"Call-ID: {call_id}", f"CSeq: {cseq} REGISTER",
                f"Contact: <sip:{self.number}@{self.address}:5060>", "Expires: 7200", "Max-Forwards: 70",
                *([credentials] if credentials else []),
            ]  # fmt: skip
            final = await self.transact(wire.compose(f"REGISTER sip:{self.pbx} SIP/2.0", lines))
            if wire.status_of(final) != 401:
                break
            credentials = wire.authorization(final, "REGISTER", f"sip:{self.pbx}", self.number, self.password)
        assert wire.status_of(final) == 200, f"phone {self.number} is not registered: {final.first_line}"

    def close(self) -> None:
        """Closes the phone at once, without ending its calls."""
        for task in self._tasks:
            task.cancel()
        for leg in self.legs:
            leg.voice.close()
        self.legs = []
        if self._wire is not None:
            self._wire.close()

    def dial(self, number: str, as_number: str = "") -> Leg:
        """Calls a number. as_number: the caller's number, for the outside world."""
        leg = Leg(self, as_number or self.number, number)
        self.legs.append(leg)
        leg.dialling = self.start_task(leg.dial())
        return leg

    def start_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs it in the background until the phone is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def forget(self, leg: Leg) -> None:
        """Forgets an ended call, after a while in which the PBX may repeat its messages."""
        self.legs.remove(leg)
        self._over[leg.call_id] = leg
        while len(self._over) > 20:
            del self._over[next(iter(self._over))]

    # ---------------------------------------------------------------- requests of ours

    async def transact(self, text: str, tried: Callable[[SipMessage], None] = lambda message: None) -> SipMessage:
        """Sends a request, repeats it until the PBX responds, and returns the final response. tried is called with each
        provisional one.

        Raises UnansweredRequestError when the PBX does not answer, or not with a final response.
        """
        request = SipMessage("", "", text)
        branch = wire.branch_of(request)
        answers = self._waiting[branch] = asyncio.Queue()
        try:
            final = await self._final_answer(text, answers, tried)
        finally:
            del self._waiting[branch]
        if wire.method_of(request) == "INVITE" and wire.status_of(final) >= 300:
            self._acknowledge_refusal(request, final)
        return final

    async def _final_answer(
        self, text: str, answers: "asyncio.Queue[SipMessage]", tried: Callable[[SipMessage], None]
    ) -> SipMessage:
        answer = await self._first_answer(text, answers)
        try:
            while wire.status_of(answer) < 200:
                tried(answer)
                answer = await asyncio.wait_for(answers.get(), _LONGEST_RING)
        except TimeoutError:
            raise wire.UnansweredRequestError(f"the PBX only began to answer {_request_line(text)}") from None
        return answer

    async def _first_answer(self, text: str, answers: "asyncio.Queue[SipMessage]") -> SipMessage:
        for pause in _PAUSES:
            self.send(text)
            try:
                return await asyncio.wait_for(answers.get(), pause)
            except TimeoutError:
                continue
        raise wire.UnansweredRequestError(f"the PBX does not answer {_request_line(text)}")

    def _acknowledge_refusal(self, request: SipMessage, final: SipMessage) -> None:
        uri = request.first_line.split(" ")[1]
        cseq = (request.header("CSeq") or "").partition(" ")[0]
        names = ("Via", "From", "Call-ID", "Max-Forwards")
        lines = [f"{name}: {request.header(name)}" for name in names]
        self.send(wire.compose(f"ACK {uri} SIP/2.0", [*lines, f"To: {final.header('To')}", f"CSeq: {cseq} ACK"]))

    def cancel(self, leg: Leg) -> None:
        """Cancels a call that has not been answered."""
        branch, cseq = leg.invite_id
        lines = [
            f"Via: SIP/2.0/UDP {self.address}:5060;branch=z9hG4bK{branch};rport",
            f"From: <sip:{leg.number}@{self.pbx}>;tag={leg.tag}", f"To: <{leg.target}>", f"Call-ID: {leg.call_id}",
            f"CSeq: {cseq} CANCEL", "Max-Forwards: 70",
        ]  # fmt: skip
        self.send(wire.compose(f"CANCEL {leg.target} SIP/2.0", lines))

    def send(self, text: str) -> None:
        """Sends a message to the PBX."""
        if self._wire is not None and not self._wire.is_closing():
            self._wire.sendto(text.encode(), (self.pbx, 5060))

    # ---------------------------------------------------------------- requests of the PBX

    def reply(self, request: SipMessage, text: str) -> None:
        """Answers a request of the PBX. When the PBX repeats the request, the same answer is sent again."""
        key = wire.branch_of(request), wire.method_of(request)
        self._replies[key] = text
        while len(self._replies) > 200:
            del self._replies[next(iter(self._replies))]
        self.send(text)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Handles a message from the PBX."""
        message = SipMessage("", "", data.decode("utf-8", "replace"))
        if wire.status_of(message):
            self._hear_answer(message)
        elif known := self._replies.get((wire.branch_of(message), wire.method_of(message))):
            self.send(known)
        else:
            self._hear_request(message)

    def _hear_answer(self, message: SipMessage) -> None:
        waiting = self._waiting.get(wire.branch_of(message))
        if waiting is not None and wire.method_of(message) != "CANCEL":
            waiting.put_nowait(message)
        elif wire.method_of(message) == "INVITE" and wire.status_of(message) == 200:
            leg = self._leg(message)
            if leg is not None:
                leg.acknowledge_again()

    def _hear_request(self, message: SipMessage) -> None:
        leg, method = self._leg(message), wire.method_of(message)
        if leg is not None:
            leg.hear(message)
        elif method == "INVITE" and not message.tag("To"):
            self._ring(message)
        elif method != "ACK":
            self.reply(message, wire.reply(message, "200 OK" if method == "OPTIONS" else "481 No Such Call"))

    def _ring(self, invite: SipMessage) -> None:
        dialled = re.match(r"INVITE sips?:([^@;> ]+)@", invite.first_line)
        number = self.number if self.password or not dialled else dialled[1]
        leg = Leg(self, number, wire.user_of(invite.header("From") or ""), invite)
        self.legs.append(leg)
        self.reply(invite, wire.reply(invite, "180 Ringing", leg.tag, f"Contact: <sip:{number}@{self.address}:5060>"))
        self.saw("rings", leg)

    def _leg(self, message: SipMessage) -> Leg | None:
        call_id = message.header("Call-ID") or ""
        return next((leg for leg in self.legs if leg.call_id == call_id), self._over.get(call_id))

    async def _speak(self) -> None:
        while True:
            for leg in self.legs:
                if leg.state == "talking" and not leg.on_hold:
                    leg.voice.speak()
            await asyncio.sleep(EVERY)


def _request_line(text: str) -> str:
    return text.partition("\r\n")[0]
