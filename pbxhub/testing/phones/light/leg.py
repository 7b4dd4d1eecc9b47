"""One call of a light phone: the SIP dialog, what its user can do, and the events that the phone sees.

state: dialling (an outgoing call) or ringing (an incoming call) -> talking -> over.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pbxhub.testing.phones.light import wire
from pbxhub.testing.phones.light.voice import Voice
from pbxhub.testing.phones.sip_trace import SipMessage

if TYPE_CHECKING:
    from pbxhub.testing.phones.light.phone import LightPhone

State = Literal["dialling", "ringing", "talking", "over"]
# What a phone sees of a call. placed: it dials; rings: it rings; refused: it has declined; stopped: the ringing has
# stopped; answered: it has answered; connected: the other side has answered; failed: nobody has answered;
# left: it has hung up; released: the other side has hung up.
LegEvent = Literal["placed", "rings", "refused", "stopped", "answered", "connected", "failed", "left", "released"]
_DIGIT_EVERY = 0.08  # seconds


class Leg:
    """number: the phone's own number, sent as its voice. peer: the other side's number, as dialled or shown."""

    def __init__(self, phone: "LightPhone", number: str, peer: str, invite: SipMessage | None = None) -> None:
        self.phone, self.number, self.peer = phone, number, peer
        self.state: State = "ringing" if invite else "dialling"
        self.status = 0  # the SIP status with which it failed or was refused
        self.diverted_to = ""
        self.transfer_status = 0  # reported by the PBX after our REFER: 100, 200, 503 …
        self.tag, self.remote_tag = wire.token(), invite.tag("From") if invite else ""
        self.call_id = (invite.header("Call-ID") or "") if invite else wire.token()
        self.target = wire.address_in(invite.header("Contact") or "") if invite else f"sip:{peer}@{phone.pbx}"
        self.voice = Voice(phone.address, number)
        self.on_hold = False
        self.dialling: asyncio.Task[None] | None = None  # dial(), where it is run
        self.tried = False  # the PBX has sent a first response to our INVITE
        self._remote = (invite.header("From") or "") if invite else f"<{self.target}>"
        self._cseq = 0
        self.invite_id = "", 0  # branch and CSeq of the INVITE that calls, for a CANCEL
        self._invite = invite
        self._acknowledged = False
        self._ack = ""
        if invite:
            self._hear_session(invite)

    # ---------------------------------------------------------------- verbs

    async def dial(self) -> None:
        """Calls; returns when the call is answered or has failed."""
        self.phone.saw("placed", self)
        try:
            final = await self._ask("INVITE", self._session())
        except wire.UnansweredRequestError:
            self.status = 408  # as RFC 3261, 8.1.3.1, has it
            self._end("failed")
            return
        self.remote_tag = final.tag("To")
        self.status = wire.status_of(final)
        if self.state == "over":  # we hung up while the answer was on its way
            if self.status < 300:
                self._accept(final)
                await self._ask("BYE")
            return
        if self.status >= 300:
            self._end("failed")
            return
        self._accept(final)
        self.state = "talking"
        self.phone.saw("connected", self)

    async def answer(self) -> None:
        """Answers the ringing call."""
        if self.state != "ringing":
            return
        self.state = "talking"
        self.phone.saw("answered", self)
        await self._accept_until_acknowledged()

    def refuse(self, status: str, contact: str = "") -> None:
        """Refuses the call: "486 Busy Here", "603 Decline"; "302 Moved Temporarily" with the number to call instead."""
        if self.state != "ringing" or self._invite is None:
            return
        self.status, self.diverted_to = int(status[:3]), contact
        headers = [f"Contact: <sip:{contact}@{self.phone.pbx}>"] if contact else []
        self.phone.reply(self._invite, wire.reply(self._invite, status, self.tag, *headers))
        self._end("refused")

    async def hang_up(self) -> None:
        """Ends the call, whatever its state."""
        if self.state == "talking":
            self._end("left")
            await self._ask("BYE")
        elif self.state == "dialling":
            self._end("left")
            self.phone.cancel(self)
        elif self.state == "ringing":
            self.refuse("486 Busy Here")

    async def hold(self, on: bool = True) -> None:
        """Puts the other side on hold, or resumes the call."""
        self.on_hold = on
        for _ in range(4):
            final = await self._ask("INVITE", self._session("sendonly" if on else "sendrecv"))
            if wire.status_of(final) != 491:  # both sides sent a re-INVITE at once
                break
            await asyncio.sleep(0.3)
        if wire.status_of(final) < 300:
            self._accept(final)

    async def refer(self, number: str, replaces: "Leg | None" = None) -> int:
        """Transfers the other side to a number, or to the other side of another call of this phone.

        Returns the status of the response: 202 when the PBX will try. The result is in transfer_status.
        """
        target = f"sip:{number}@{self.phone.pbx}"
        if replaces is not None:
            ids = f"{replaces.call_id}%3Bto-tag%3D{replaces.remote_tag}%3Bfrom-tag%3D{replaces.tag}"
            target = f"{target}?Replaces={ids}"
        final = await self._ask("REFER", headers=[f"Refer-To: <{target}>", f"Referred-By: <{self.phone.uri}>"])
        return wire.status_of(final)

    async def press(self, digits: str) -> None:
        """Presses keys by SIP INFO, which Asterisk treats like RFC 4733."""
        for digit in digits:
            if self.state != "talking":
                return
            await self._ask("INFO", f"Signal={digit}\r\nDuration=100\r\n", content_type="application/dtmf-relay")
            await asyncio.sleep(_DIGIT_EVERY)

    # ---------------------------------------------------------------- what comes from the PBX

    def hear(self, request: SipMessage) -> None:
        """Handles a request within this call."""
        method = wire.method_of(request)
        if method == "ACK":
            self._acknowledged = True
        elif method == "CANCEL":
            self._cancelled(request)
        elif method == "BYE":
            self.phone.reply(request, wire.reply(request, "200 OK"))
            self._end("released")
        elif method in ("INVITE", "UPDATE"):
            self._hear_session(request)
            direction = "sendonly" if self.on_hold else "sendrecv"
            body = self._session(direction) if method == "INVITE" or "m=audio" in request.text else ""
            self.phone.reply(request, wire.reply(request, "200 OK", self.tag, self._contact, body=body))
        else:
            if method == "NOTIFY" and "SIP/2.0 " in request.text.partition("\r\n\r\n")[2]:
                self.transfer_status = int(request.text.partition("\r\n\r\n")[2][8:11])
            self.phone.reply(request, wire.reply(request, "200 OK"))

    def acknowledge_again(self) -> None:
        """The PBX repeats its 200 because our ACK was lost: sends the ACK again."""
        if self._ack:
            self.phone.send(self._ack)

    def cut_off(self) -> None:
        """The PBX is gone without a word. It hears no more of this call when it is started again."""
        if self.dialling is not None:
            self.dialling.cancel()
        ends: dict[State, LegEvent] = {"ringing": "stopped", "dialling": "failed", "talking": "released"}
        if self.state in ends:
            self._end(ends[self.state])

    def _cancelled(self, request: SipMessage) -> None:
        self.phone.reply(request, wire.reply(request, "200 OK"))
        if self.state == "ringing" and self._invite is not None:
            self.phone.reply(self._invite, wire.reply(self._invite, "487 Request Terminated", self.tag))
            self._end("stopped")

    # ---------------------------------------------------------------- the dialog

    @property
    def _contact(self) -> str:
        return f"Contact: <sip:{self.number}@{self.phone.address}:5060>"

    @property
    def _own(self) -> str:
        return f"<sip:{self.number}@{self.phone.pbx}>;tag={self.tag}"

    def _session(self, direction: str = "sendrecv") -> str:
        return wire.offer(self.phone.address, self.voice.port, direction)

    def _hear_session(self, message: SipMessage) -> None:
        self.voice.target = wire.voice_address(message) or self.voice.target

    async def _accept_until_acknowledged(self) -> None:
        assert self._invite is not None
        answer = wire.reply(self._invite, "200 OK", self.tag, self._contact, body=self._session())
        for pause in (0.5, 1.0, 2.0, 4.0):
            self.phone.reply(self._invite, answer)
            await asyncio.sleep(pause)
            if self._acknowledged or self.state == "over":
                return

    def _accept(self, final: SipMessage) -> None:
        """Acknowledges the 200 to our INVITE; the ACK is a separate request."""
        self._hear_session(final)
        contact = final.header("Contact")
        self.target = wire.address_in(contact) if contact else self.target
        cseq = (final.header("CSeq") or "").partition(" ")[0]
        lines = [*self._lines(wire.token()), f"CSeq: {cseq} ACK"]
        self._ack = wire.compose(f"ACK {self.target} SIP/2.0", lines)
        self.phone.send(self._ack)

    def _lines(self, branch: str) -> list[str]:
        to = self._remote if ";tag=" in self._remote or not self.remote_tag else f"{self._remote};tag={self.remote_tag}"
        via = f"Via: SIP/2.0/UDP {self.phone.address}:5060;branch=z9hG4bK{branch};rport"
        return [via, f"From: {self._own}", f"To: {to}", f"Call-ID: {self.call_id}", "Max-Forwards: 70", self._contact]

    async def _ask(
        self, method: str, body: str = "", headers: Sequence[str] = (), content_type: str = "application/sdp"
    ) -> SipMessage:
        """Sends a request of this call and returns its final response. A challenge is answered with credentials."""
        credentials: list[str] = []
        for _ in range(2):
            branch, self._cseq = wire.token(), self._cseq + 1
            if method == "INVITE" and self.state == "dialling":
                self.invite_id = branch, self._cseq
            lines = [*self._lines(branch), f"CSeq: {self._cseq} {method}", *headers, *credentials]
            text = wire.compose(f"{method} {self.target} SIP/2.0", lines, body, content_type)
            final = await self.phone.transact(text, self._tried)
            if wire.status_of(final) not in (401, 407) or not self.phone.password:
                break
            phone = self.phone
            credentials = [wire.authorization(final, method, self.target, phone.number, phone.password)]
        return final

    def _tried(self, answer: SipMessage) -> None:
        """The PBX has received our INVITE. From 180 on its responses name the other side, so a transfer to it can
        begin."""
        self.tried = True
        self.remote_tag = self.remote_tag or answer.tag("To")

    def _end(self, seen: LegEvent) -> None:
        if self.state != "over":
            self.state = "over"
            self.voice.close()
            self.phone.forget(self)
            self.phone.saw(seen, self)
