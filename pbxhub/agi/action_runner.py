"""Runs the actions of a plan as AGI commands. Asterisk expands no variables in EXEC's arguments (AGIEXECFULL unset)."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pbxhub.agi.wire import HungUpError, Wire
from pbxhub.steering import actions
from pbxhub.steering.actions import Action
from pbxhub.steering.dialplan_text import quote, variable_text

Fetch = Callable[[str], Awaitable[str]]


class StepError(Exception):
    """An action failed, so the call takes the default route. The call's page shows the message."""


@dataclass(slots=True)
class ActionRunner:
    """Runs actions on one call.

    context: the context in which numbers are dialled, from-internal on FreePBX. options: of Dial, set by the dialplan.
    fetch: downloads the sound at a URL and returns the file name for Playback, or raises StepError.
    digits: the keys pressed last. over: no further action runs, because the call was answered or continues elsewhere
    in the dialplan.
    """

    wire: Wire
    context: str
    options: str
    fetch: Fetch
    digits: str = ""
    over: bool = field(default=False)

    async def do(self, action: Action) -> str:
        """Runs one action; returns the result as Asterisk names it. Raises StepError, HungUpError, CommandError."""
        return await _STEPS[type(action)](self, action)

    async def dial(self, number: str, timeout: int) -> str:
        """Dials a number through the context, so that the PBX's own dialplan decides how. Returns DIALSTATUS."""
        await self.execute("Dial", f"Local/{number}@{self.context},{timeout},{self.options}")
        status = await self.wire.get("DIALSTATUS")
        self.over = status == "ANSWER"
        return status

    async def execute(self, application: str, data: str) -> None:
        result = await self.wire.command("EXEC", application, data)
        if result.value == "-2":
            raise StepError(f"this PBX has no application {application}")


async def _answer(runner: ActionRunner, _: actions.AnswerCall) -> str:
    if (await runner.wire.command("ANSWER")).value != "0":
        raise StepError("the call could not be answered")
    return "answered"


async def _hang_up(runner: ActionRunner, action: actions.EndCall) -> str:
    runner.over = True
    with suppress(HungUpError):  # the result and the hangup may arrive in either order
        await runner.execute("Hangup", str(action.cause))
    return "hung up"


async def _dial(runner: ActionRunner, action: actions.Dial) -> str:
    await _show(runner, action.caller_name)
    return await runner.dial(action.number, action.timeout)


async def _queue(runner: ActionRunner, action: actions.EnterQueue) -> str:
    """Always uses option c: without it QUEUESTATUS does not show that the call was answered and has ended. The variable
    stays empty when the caller left the queue by a transfer or a key, and is UNKNOWN when the queue does not exist."""
    await _show(runner, action.caller_name)
    await runner.wire.command("SET VARIABLE", "QUEUESTATUS", "")
    await runner.execute("Queue", f"{action.name},c,,,{action.timeout}")
    status = await runner.wire.get("QUEUESTATUS")
    if status == "UNKNOWN":
        raise StepError(f"this PBX has no queue {action.name}")
    runner.over = status in ("", "CONTINUE")
    return status or "left the queue"


async def _show(runner: ActionRunner, caller_name: str) -> None:
    if caller_name:
        await runner.wire.command("SET VARIABLE", "CALLERID(name)", caller_name)


async def _play(runner: ActionRunner, action: actions.Play) -> str:
    sound = action.file or await runner.fetch(action.url)
    await runner.execute("Playback", f"{sound},noanswer")
    if await runner.wire.get("PLAYBACKSTATUS") != "SUCCESS":
        raise StepError(f"this PBX cannot play {action.file or action.url}")
    return "played"


async def _say(runner: ActionRunner, action: actions.Say) -> str:
    await runner.wire.command(f"SAY {action.kind.upper()}", action.text, "")
    return "said"


async def _read(runner: ActionRunner, action: actions.ReadDigits) -> str:
    runner.digits = ""
    for _ in range(action.attempts):
        result = await runner.wire.command("GET DATA", action.file, str(action.timeout * 1000), str(action.most))
        if result.value.startswith("-1"):
            await runner.wire.command("NOOP")  # a HANGUP line arrives before the answer to this
            if runner.wire.over:
                raise HungUpError
            raise StepError(f"this PBX cannot play {action.file!r}")
        if result.value:
            runner.digits = result.value
            break
    await runner.wire.command("SET VARIABLE", "PBXHUB_DIGITS", quote(runner.digits))
    if not runner.digits:
        return "no digits"
    # makes the digits a parameter of the call's later stages
    await runner.execute("UserEvent", f"PBXHubVar,Name: additional_number,Value: {runner.digits}")
    return f"digits {runner.digits}"


async def _set(runner: ActionRunner, action: actions.SetVariables) -> str:
    for name, value in action.variables:
        await runner.wire.command("SET VARIABLE", f"HUB_{name}", variable_text(value))
    return "set"


async def _music(runner: ActionRunner, action: actions.Music) -> str:
    await runner.execute("MusicOnHold", f"{action.name},{action.seconds}")
    return "played"


async def _voicemail(runner: ActionRunner, action: actions.Voicemail) -> str:
    """The dialplan reports the message (asterisk-conf/marks.conf), also when the caller hangs up, which ends AGI. What
    it reports twice is one stage."""
    wire = runner.wire
    for name in ("VMSTATUS", "VM_MESSAGEFILE"):
        await wire.command("SET VARIABLE", name, "")
    told = await wire.get("DIALPLAN_EXISTS(pbxhub-voicemail,left,1)") == "1"
    if told:
        await wire.command("SET VARIABLE", "CHANNEL(hangup_handler_push)", "pbxhub-voicemail,left,1")
    try:
        await runner.execute("VoiceMail", f"{action.mailbox},u")
        status = await wire.get("VMSTATUS")
        if status == "FAILED" or not status:
            raise StepError(f"this PBX has no mailbox {action.mailbox}")
        if told:
            await wire.command("GOSUB", "pbxhub-voicemail", "left", "1")
    finally:
        if told and not wire.over:
            await wire.command("SET VARIABLE", "CHANNEL(hangup_handler_pop)", "")
    runner.over = True
    return status


async def _redirect(runner: ActionRunner, action: actions.Redirect) -> str:
    host = (await runner.wire.get("CHANNEL(pjsip,request_uri)")).partition("@")[2]
    target = f"sip:{action.number}@{host.partition(';')[0].rstrip('>')}" if host else action.number
    runner.over = True
    try:
        await runner.execute("Transfer", target)
        status = await runner.wire.get("TRANSFERSTATUS")
    except HungUpError:  # after the 302 Asterisk ends the call
        return "redirected"
    if status != "SUCCESS":
        raise StepError(f"the caller's trunk does not support redirects ({status})")
    return "redirected"


async def _go_to(runner: ActionRunner, action: actions.Goto) -> str:
    place = f"{action.context},{action.extension},{action.priority}"
    if await runner.wire.get(f"DIALPLAN_EXISTS({place})") != "1":
        raise StepError(f"this PBX has no extension {place}")
    await runner.execute("StackPop", "")
    await runner.execute("Goto", place)
    runner.over = True
    return "sent there"


async def _pause(runner: ActionRunner, action: actions.PauseMember) -> str:
    """A member that is in no such queue is no failure of the call: it goes on, and PBXHUB_PAUSE says so."""
    application, variable = ("PauseQueueMember", "PQMSTATUS") if action.paused else ("UnpauseQueueMember", "UPQMSTATUS")
    await runner.wire.command("SET VARIABLE", variable, "")
    await runner.execute(application, f"{action.queue},{action.member},,{action.reason}")
    status = await runner.wire.get(variable)
    await runner.wire.command("SET VARIABLE", "PBXHUB_PAUSE", status)
    return status


_STEPS: Mapping[type[Any], Callable[[ActionRunner, Any], Awaitable[str]]] = {
    actions.AnswerCall: _answer,
    actions.EndCall: _hang_up,
    actions.Dial: _dial,
    actions.EnterQueue: _queue,
    actions.Play: _play,
    actions.Say: _say,
    actions.ReadDigits: _read,
    actions.SetVariables: _set,
    actions.Music: _music,
    actions.Voicemail: _voicemail,
    actions.Redirect: _redirect,
    actions.Goto: _go_to,
    actions.PauseMember: _pause,
}
