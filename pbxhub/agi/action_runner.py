"""The steps of a plan as AGI commands. Asterisk expands no variables in what EXEC is given (AGIEXECFULL is unset)."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pbxhub.agi.wire import HungUpError, Wire
from pbxhub.steering.actions import (
    Action,
    Dial,
    Goto,
    Hangup,
    Music,
    Pickup,
    Play,
    Queue,
    ReadDigits,
    Redirect,
    Say,
    SetVariables,
    Voicemail,
)
from pbxhub.steering.dialplan_text import quote

Fetch = Callable[[str], Awaitable[str]]


class StepError(Exception):
    """A step could not be done; the call takes the default route. The text is shown on the card of the call."""


@dataclass(slots=True)
class ActionRunner:
    """What carries out steps on one call.

    context: where numbers are dialled, from-internal on FreePBX. options: of Dial, set by the dialplan.
    fetch: gets the sound behind a URL and returns the name Asterisk plays, or raises StepError.
    digits: the keys read last. over: nothing more is to be done, somebody talked or the dialplan goes on elsewhere.
    """

    wire: Wire
    context: str
    options: str
    fetch: Fetch
    digits: str = ""
    over: bool = field(default=False)

    async def do(self, action: Action) -> str:
        """Does one step; the result in Asterisk's words. Raises StepError, HungUpError, CommandError."""
        return await _STEPS[type(action)](self, action)

    async def dial(self, number: str, timeout: int) -> str:
        """Rings a number as an extension of the context would, so that its own dialplan decides how."""
        await self.execute("Dial", f"Local/{number}@{self.context},{timeout},{self.options}")
        status = await self.wire.get("DIALSTATUS")
        self.over = status == "ANSWER"
        return status

    async def execute(self, application: str, data: str) -> None:
        result = await self.wire.command("EXEC", application, data)
        if result.value == "-2":
            raise StepError(f"this PBX has no application {application}")


async def _answer(hands: ActionRunner, _: Pickup) -> str:
    if (await hands.wire.command("ANSWER")).value != "0":
        raise StepError("the call could not be answered")
    return "answered"


async def _hang_up(hands: ActionRunner, action: Hangup) -> str:
    hands.over = True
    with suppress(HungUpError):  # which comes first, the result or the news of the hangup, is chance
        await hands.execute("Hangup", str(action.cause))
    return "hung up"


async def _dial(hands: ActionRunner, action: Dial) -> str:
    await _show(hands, action.caller_name)
    return await hands.dial(action.number, action.timeout)


async def _queue(hands: ActionRunner, action: Queue) -> str:
    """Always with c: only then does QUEUESTATUS tell a talk that is over. It stays empty when the caller has left for
    another place, by a transfer or a key, and is UNKNOWN where there is no such queue."""
    await _show(hands, action.caller_name)
    await hands.wire.command("SET VARIABLE", "QUEUESTATUS", "")
    await hands.execute("Queue", f"{action.name},c,,,{action.timeout}")
    status = await hands.wire.get("QUEUESTATUS")
    if status == "UNKNOWN":
        raise StepError(f"this PBX has no queue {action.name}")
    hands.over = status in ("", "CONTINUE")
    return status or "left the queue"


async def _show(hands: ActionRunner, caller_name: str) -> None:
    if caller_name:
        await hands.wire.command("SET VARIABLE", "CALLERID(name)", caller_name)


async def _play(hands: ActionRunner, action: Play) -> str:
    sound = action.file or await hands.fetch(action.url)
    await hands.execute("Playback", f"{sound},noanswer")
    if await hands.wire.get("PLAYBACKSTATUS") != "SUCCESS":
        raise StepError(f"this PBX cannot play {action.file or action.url}")
    return "played"


async def _say(hands: ActionRunner, action: Say) -> str:
    await hands.wire.command(f"SAY {action.kind.upper()}", action.text, "")
    return "said"


async def _read(hands: ActionRunner, action: ReadDigits) -> str:
    hands.digits = ""
    for _ in range(action.attempts):
        result = await hands.wire.command("GET DATA", action.file, str(action.timeout * 1000), str(action.most))
        if result.value.startswith("-1"):
            await hands.wire.command("NOOP")  # the news of a hangup comes before its answer
            if hands.wire.over:
                raise HungUpError
            raise StepError(f"this PBX cannot play {action.file}")
        if result.value:
            hands.digits = result.value
            break
    await hands.wire.command("SET VARIABLE", "PBXHUB_DIGITS", quote(hands.digits))
    if not hands.digits:
        return "no digits"
    # for the stages of the call that are still to come
    await hands.execute("UserEvent", f"PBXHubVar,Name: additional_number,Value: {hands.digits}")
    return f"digits {hands.digits}"


async def _set(hands: ActionRunner, action: SetVariables) -> str:
    for name, value in action.variables:
        await hands.wire.command("SET VARIABLE", f"HUB_{name}", quote(value)[:1500])
    return "set"


async def _music(hands: ActionRunner, action: Music) -> str:
    await hands.execute("MusicOnHold", f"{action.name},{action.seconds}")
    return "played"


async def _voicemail(hands: ActionRunner, action: Voicemail) -> str:
    await hands.wire.command("SET VARIABLE", "VMSTATUS", "")
    await hands.execute("VoiceMail", f"{action.mailbox},u")
    status = await hands.wire.get("VMSTATUS")
    if status == "FAILED" or not status:
        raise StepError(f"this PBX has no mailbox {action.mailbox}")
    hands.over = True
    return status


async def _redirect(hands: ActionRunner, action: Redirect) -> str:
    host = (await hands.wire.get("CHANNEL(pjsip,request_uri)")).partition("@")[2]
    target = f"sip:{action.number}@{host.partition(';')[0].rstrip('>')}" if host else action.number
    hands.over = True
    try:
        await hands.execute("Transfer", target)
        status = await hands.wire.get("TRANSFERSTATUS")
    except HungUpError:  # Asterisk ends the call with the 302
        return "redirected"
    if status != "SUCCESS":
        raise StepError(f"the caller's line does not take redirects ({status})")
    return "redirected"


async def _go_to(hands: ActionRunner, action: Goto) -> str:
    place = f"{action.context},{action.extension},{action.priority}"
    if await hands.wire.get(f"DIALPLAN_EXISTS({place})") != "1":
        raise StepError(f"this PBX has no {place}")
    await hands.execute("StackPop", "")
    await hands.execute("Goto", place)
    hands.over = True
    return "gone there"


_STEPS: Mapping[type[Any], Callable[[ActionRunner, Any], Awaitable[str]]] = {
    Pickup: _answer,
    Hangup: _hang_up,
    Dial: _dial,
    Queue: _queue,
    Play: _play,
    Say: _say,
    ReadDigits: _read,
    SetVariables: _set,
    Music: _music,
    Voicemail: _voicemail,
    Redirect: _redirect,
    Goto: _go_to,
}
