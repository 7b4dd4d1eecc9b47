"""One waiting call from its first question to the moment the dialplan gets it back."""

import asyncio
import re
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.agi.action_runner import ActionRunner, StepError
from pbxhub.agi.questions import Asked, Caller, put_together, understand
from pbxhub.agi.recorder import Record, Recorder
from pbxhub.agi.sounds import ending_of, keep_sound
from pbxhub.agi.wire import Call, CommandError, HungUpError, Wire
from pbxhub.calls.stages import Value
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.question import Step
from pbxhub.sending.address_guard import NetworkGrant
from pbxhub.sending.exchange import Answer, Outgoing
from pbxhub.sending.sender import Sender
from pbxhub.steering.actions import Action, Ask, Dial, ReadDigits
from pbxhub.steering.answer import MOST_QUESTIONS, MOST_STEPS_OF_A_CALL
from pbxhub.steering.dialplan_text import NAME, quote
from pbxhub.steering.number_rules import NUMBER
from pbxhub.vault import VaultError
from pbxhub.webhooks.request import Request

PREPARING = 1.5  # seconds the database may take to name the webhook; then the call goes on
SOUND_TIME = 5.0
LONGEST_VALUE = 1500  # bytes of a channel variable
_MARGIN = 3  # seconds between the end of the wait and the moment the dialplan goes on by itself
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """What every conversation shares. sounds: the folder of what is fetched from URLs."""

    context: DeliveryContext
    sender: Sender
    recorder: Recorder
    threads: Executor
    sounds: Path


class Conversation:
    """AGI(agi://…,WEBHOOK,LINKEDID,ASKED,DIAL_CONTEXT,DIAL_OPTIONS,LIMIT) as pbxhub-ask of asterisk-conf/ begins it.

    ASKED: questions of this call, this one included; the dialplan counts. Channels that the call makes inherit the
    count, so that no loop is endless. LIMIT: seconds left of a TIMEOUT(absolute) the dialplan had set, 0 for none.
    """

    def __init__(self, desk: Desk, wire: Wire, call: Call, pbx_id: int) -> None:
        given = dict(enumerate(call.arguments))
        self._desk = desk
        self._wire = wire
        self._call = call
        self._pbx_id = pbx_id
        self._networks: NetworkGrant = frozenset()  # of the project whose webhook was asked last
        self._first = given.get(0, "")
        self._linkedid = given.get(1) or call.uniqueid
        asked = given.get(2, "")
        self._asked = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 1
        limit = given.get(5, "")
        self._until = time.monotonic() + float(limit) if _SECONDS.fullmatch(limit) and float(limit) else None
        context = given.get(3, "")
        options = given.get(4, "")
        self._hands = ActionRunner(
            wire, context if NAME.fullmatch(context) else "from-internal", options if options.isalnum() else "",
            self._fetch_sound,
        )  # fmt: skip
        self._steps = 0
        self._known: dict[str, Value] = {}
        self._told = {"PBXHUB_LINE": "1"}

    async def run(self) -> None:
        """Asks until no answer names a next webhook. Raises HungUpError when the caller is gone."""
        name = self._first
        while name:
            if self._asked > MOST_QUESTIONS:
                await self._fail(f"This call has asked {MOST_QUESTIONS} questions; that looks like a loop.")
                return
            name = await self._question(name)
            if name:
                self._asked += 1
                await self._wire.command("SET VARIABLE", "__PBXHUB_ASKED", str(self._asked))

    async def _question(self, name: str) -> str:
        """One webhook; the name of the next one, "" when it is over."""
        asked = await self._put_together(name)
        if isinstance(asked, str):
            log.warning("not asked", webhook=name, call=self._linkedid, reason=asked)
            await self._fail(asked)
            return ""
        self._networks = asked.claimed.webhook.networks
        answer = await self._ask(asked)
        await self._limit()
        reading, plan = understand(asked, answer)
        self._known |= {name: value for name, value in reading.values.items() if value is not None}
        default = asked.steering.default
        actions: tuple[Action, ...] = plan.actions if plan else (_default(asked),) if default else ()
        steps = [Step(str(action)) for action in actions]
        record = Record(
            self._pbx_id, self._linkedid, asked, answer, reading, self._desk.context.clock(), int(plan is None), steps
        )
        self._desk.recorder.put(record)
        await self._tell(reading.values, record.line)
        return await self._carry_out(actions, record, "" if plan is None else default, asked)

    async def _put_together(self, name: str) -> Asked | str:
        caller = Caller(self._pbx_id, self._linkedid, self._call, dict(self._known))
        work = partial(put_together, self._desk.context, caller, name, self._desk.context.clock())
        try:
            async with asyncio.timeout(PREPARING):
                return await asyncio.get_running_loop().run_in_executor(self._desk.threads, work)
        except TimeoutError:
            return "The hub's database is too slow."
        except SQLAlchemyError as error:
            log.warning("the database is away; the call goes on", call=self._linkedid, error=str(error)[:300])
            return "The hub's database is away."
        except VaultError as error:
            return f"Not sent: {error}."

    async def _ask(self, asked: Asked) -> Answer:
        """The answer. When the caller hangs up before it comes it is recorded all the same, and HungUpError raised."""
        if asked.prepared is None:
            assert asked.not_sent
            return asked.not_sent
        future = self._send(asked.prepared.outgoing)
        try:
            await self._limit(asked.steering.wait + _MARGIN)
            if asked.steering.music:
                await self._wire.command("EXEC", "Progress", "")
                await self._wire.command("SET MUSIC", "ON", asked.steering.music)
            answered = await self._wire.wait_for(future)
        except HungUpError:
            answered = False
        if not answered:
            future.add_done_callback(partial(self._answered_too_late, asked))
            raise HungUpError
        if asked.steering.music:
            await self._wire.command("SET MUSIC", "OFF")
        return asked.prepared.clean(future.result())

    async def _limit(self, seconds: float = 0) -> None:
        """The dialplan goes on by itself after so many seconds; 0: only when a limit of its own says so."""
        limits = [seconds] if seconds else []
        if self._until is not None:
            limits.append(max(self._until - time.monotonic(), 0.1))
        await self._wire.command("SET VARIABLE", "TIMEOUT(absolute)", f"{min(limits):.1f}" if limits else "0")

    def _answered_too_late(self, asked: Asked, future: "asyncio.Future[Answer]") -> None:
        if future.cancelled() or asked.prepared is None:
            return
        answer = asked.prepared.clean(future.result())
        reading, _ = understand(asked, answer)
        steps = [Step("none", "the caller hung up before the answer")]
        self._desk.recorder.put(
            Record(self._pbx_id, self._linkedid, asked, answer, reading, self._desk.context.clock(), 1, steps)
        )

    def _send(self, outgoing: Outgoing) -> "asyncio.Future[Answer]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()

        def settle(answer: Answer) -> None:
            if not future.done():
                future.set_result(answer)

        def done(answer: Answer) -> None:
            try:
                loop.call_soon_threadsafe(settle, answer)
            except RuntimeError:  # the loop has ended: nobody waits any more
                return

        self._desk.sender.begin(outgoing, done)
        return future

    async def _tell(self, values: Mapping[str, Value], line: int) -> None:
        """The answer as channel variables: PBXHUB_RESPONSE_*, PBXHUB_ERROR_REASON, HUB_ of saved names."""
        told: dict[str, object] = {f"PBXHUB_{name.upper()}": values.get(name) for name in _TOLD}
        told["PBXHUB_RESPONSE_STATUS"] = "FAILED" if line else "SUCCESS"
        saved = values.get("webhook.saved")
        if isinstance(saved, dict):
            told |= {f"HUB_{name}": value for name, value in saved.items()}
        for name, value in told.items():
            await self._set(name, _as_text(value))

    async def _carry_out(self, actions: tuple[Action, ...], record: Record, default: str, asked: Asked) -> str:
        """Does the steps; the default route when one cannot be done. Returns the webhook to ask next.

        Line 0 only when all is done: if the hub dies before, the caller is on the default route.
        """
        steps = record.steps
        try:
            for index, action in enumerate(actions):
                if isinstance(action, Ask):
                    steps[index] = Step(str(action), "asked")
                    return action.webhook
                self._steps += 1
                if self._steps > MOST_STEPS_OF_A_CALL:
                    raise StepError(f"this call has done {MOST_STEPS_OF_A_CALL} steps; that looks like a loop")
                steps[index] = Step(str(action), "begun")
                steps[index] = Step(str(action), await self._hands.do(action))
                if isinstance(action, ReadDigits):  # none pressed this time are none, whatever was pressed before
                    self._known["additional_number"] = self._hands.digits
                if self._hands.over:
                    break
        except (StepError, CommandError) as error:
            steps[index] = Step(str(action), f"not done: {error}")
            await self._take_default(record, default, asked, str(error))
        except HungUpError:
            if steps[index].result == "begun":
                steps[index] = Step(str(action), "until the call ended")
            raise
        finally:
            self._desk.recorder.put(record)
        if record.line == 0:
            await self._set("PBXHUB_LINE", "0")
        return ""

    async def _take_default(self, record: Record, default: str, asked: Asked, reason: str) -> None:
        record.line = 1
        await self._fail(reason)
        if default:
            shown = f"default route: dial {default}"
            record.steps.append(Step(shown, "until the call ended"))
            record.steps[-1] = Step(shown, await self._hands.dial(default, asked.steering.ring))

    async def _set(self, name: str, text: str) -> None:
        """Sets a channel variable, unless it is so already: each takes a turn on the wire. PBXHUB_ ones begin empty,
        which the dialplan sees to; HUB_ may be left of an earlier question."""
        if self._told.get(name, "" if name.startswith("PBXHUB_") else None) != text:
            await self._wire.command("SET VARIABLE", name, text)
            self._told[name] = text

    async def _fail(self, reason: str) -> None:
        await self._set("PBXHUB_LINE", "1")
        await self._set("PBXHUB_RESPONSE_STATUS", "FAILED")
        await self._set("PBXHUB_ERROR_REASON", _as_text(reason))

    async def _fetch_sound(self, url: str) -> str:
        ending_of(url)
        request = Request("GET", url, (), b"")
        answer = await self._send(Outgoing(request, f"sound:{self._pbx_id}", SOUND_TIME, networks=self._networks))
        return await asyncio.to_thread(keep_sound, self._desk.sounds, url, answer)


_TOLD = (
    "response_status_code", "response_status_type", "response_duration", "response_raw", "response_error",
    "error_reason",
)  # fmt: skip


def _default(asked: Asked) -> Dial:
    assert NUMBER.fullmatch(asked.steering.default)  # checked when it was saved
    return Dial(asked.steering.default, asked.steering.ring)


def _as_text(value: object) -> str:
    """A value as a channel variable: quoted, of at most LONGEST_VALUE bytes."""
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    quoted = quote(text[:LONGEST_VALUE]).encode()[:LONGEST_VALUE].decode("utf-8", "ignore")
    cut = quoted.rfind("%", max(0, len(quoted) - 2)) if len(quoted) > 2 else -1
    return quoted[:cut] if cut >= 0 and len(quoted.encode()) >= LONGEST_VALUE - 2 else quoted
