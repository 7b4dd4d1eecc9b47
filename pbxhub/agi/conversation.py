"""One waiting call, from its first webhook until the dialplan continues."""

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
from pbxhub.agi.ask_webhook import Asked, Caller, put_together, understand, without_plan
from pbxhub.agi.question_writer import QuestionToWrite, QuestionWriter
from pbxhub.agi.sound_downloads import ending_of, keep_sound
from pbxhub.agi.wire import AgiCall, CommandError, HungUpError, Wire
from pbxhub.calls.stages import Value
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.question import Step
from pbxhub.sending.address_guard import NetworkGrant
from pbxhub.sending.exchange import Answer, Outgoing
from pbxhub.sending.sender import Sender
from pbxhub.steering.actions import Action, AskWebhook, ReadDigits
from pbxhub.steering.answer import MOST_QUESTIONS, MOST_STEPS_OF_A_CALL
from pbxhub.steering.dialplan_text import NAME, variable_text
from pbxhub.store.agi_tokens import AgiAddress
from pbxhub.vault import VaultError
from pbxhub.webhooks.request import Request

PREPARING = 1.5  # seconds the database may take to find the webhook; after that the dialplan continues
SOUND_TIME = 5.0
_MARGIN = 3  # seconds after the webhook's time limit until Asterisk continues without an answer
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all conversations share. sounds: the folder for sounds downloaded from URLs."""

    context: DeliveryContext
    sender: Sender
    questions: QuestionWriter
    threads: Executor
    sounds: Path


class Conversation:
    """AGI(agi://…,WEBHOOK,LINKEDID,ASKED,DIAL_CONTEXT,DIAL_OPTIONS,LIMIT), started by pbxhub-ask in asterisk-conf/.

    ASKED: number of questions of this call, this one included. The dialplan counts them, and channels created by the
    call inherit the count, so that no loop is endless. LIMIT: seconds left of a TIMEOUT(absolute) that the dialplan
    had set; 0 for none.
    """

    def __init__(self, shared: Shared, wire: Wire, call: AgiCall, address: AgiAddress) -> None:
        given = dict(enumerate(call.arguments))
        self._shared = shared
        self._wire = wire
        self._call = call
        self._address = address
        self._pbx_id = address.pbx_id
        self._networks: NetworkGrant = frozenset()  # of the project whose webhook was sent last
        self._first = given.get(0, "")
        self._linkedid = given.get(1) or call.uniqueid
        asked = given.get(2, "")
        self._asked = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 1
        limit = given.get(5, "")
        self._until = time.monotonic() + float(limit) if _SECONDS.fullmatch(limit) and float(limit) else None
        context = given.get(3, "")
        options = given.get(4, "")
        self._runner = ActionRunner(
            wire, context if NAME.fullmatch(context) else "from-internal", options if options.isalnum() else "",
            self._fetch_sound,
        )  # fmt: skip
        self._steps = 0
        self._known: dict[str, Value] = {}
        self._variables = {"PBXHUB_LINE": "1"}

    async def run(self) -> None:
        """Sends webhooks until an answer names no next one. Raises HungUpError when the caller hangs up."""
        name = self._first
        while name:
            if self._asked > MOST_QUESTIONS:
                await self._fail("NOT_SENT", f"This call has asked {MOST_QUESTIONS} questions; that looks like a loop.")
                return
            name = await self._question(name)
            if name:
                self._asked += 1
                await self._wire.command("SET VARIABLE", "__PBXHUB_ASKED", str(self._asked))

    async def _question(self, name: str) -> str:
        """Sends one webhook and carries out its answer. Returns the name of the next webhook, or ""."""
        asked = await self._put_together(name)
        if isinstance(asked, str):
            log.warning("webhook not asked; the dialplan continues", webhook=name, call=self._linkedid, reason=asked)
            await self._fail("NOT_SENT", asked)
            return ""
        self._networks = asked.claimed.webhook.networks
        answer = await self._ask(asked)
        await self._limit()
        reading, plan = understand(asked, answer)
        actions = plan.actions if plan else without_plan(asked)
        self._known |= {name: value for name, value in reading.values.items() if value is not None}
        steps = [Step(str(action)) for action in actions]
        question = QuestionToWrite(
            self._pbx_id, self._linkedid, asked, answer, reading, self._shared.context.clock(), int(plan is None), steps
        )
        self._shared.questions.put(question)
        await self._tell(reading.values, question.line)
        return await self._carry_out(actions, question, "" if plan is None else asked.steering.default, asked)

    async def _put_together(self, name: str) -> Asked | str:
        caller = Caller(self._address, self._linkedid, self._call, dict(self._known))
        work = partial(put_together, self._shared.context, caller, name, self._shared.context.clock())
        try:
            async with asyncio.timeout(PREPARING):
                return await asyncio.get_running_loop().run_in_executor(self._shared.threads, work)
        except TimeoutError:
            return "The hub's database is too slow."
        except SQLAlchemyError as error:
            log.warning("database unavailable; the dialplan continues", call=self._linkedid, error=str(error)[:300])
            return "The hub's database is unavailable."
        except VaultError as error:
            return f"Not sent: {error}."

    async def _ask(self, asked: Asked) -> Answer:
        """The answer. Raises HungUpError when the caller hangs up first; the answer is then recorded when it comes."""
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
        """Makes Asterisk continue after so many seconds. 0: only the dialplan's own limit applies."""
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
        now = self._shared.context.clock()
        self._shared.questions.put(QuestionToWrite(self._pbx_id, self._linkedid, asked, answer, reading, now, 1, steps))

    def _send(self, outgoing: Outgoing) -> "asyncio.Future[Answer]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()

        def settle(answer: Answer) -> None:
            if not future.done():
                future.set_result(answer)

        def done(answer: Answer) -> None:
            try:
                loop.call_soon_threadsafe(settle, answer)
            except RuntimeError:  # the loop has ended, so nothing waits for the answer
                return

        self._shared.sender.begin(outgoing, done)
        return future

    async def _tell(self, values: Mapping[str, Value], line: int) -> None:
        """Sets the channel variables of the answer: PBXHUB_RESPONSE_*, PBXHUB_ERROR_*, and HUB_* for saved values."""
        variables: dict[str, object] = {f"PBXHUB_{name.upper()}": values.get(name) for name in _ANSWER_VALUES}
        variables["PBXHUB_RESPONSE_STATUS"] = "FAILED" if line else "SUCCESS"
        saved = values.get("webhook.saved")
        if isinstance(saved, dict):
            variables |= {f"HUB_{name}": value for name, value in saved.items()}
        for name, value in variables.items():
            await self._set(name, variable_text(value))

    async def _carry_out(
        self, actions: tuple[Action, ...], question: QuestionToWrite, default: str, asked: Asked
    ) -> str:
        """Runs the actions; takes the default route when one fails. Returns the name of the next webhook, or "".

        PBXHUB_LINE becomes 0 only after all actions have run: if the hub dies earlier, the caller takes the default
        route.
        """
        steps = question.steps
        try:
            for index, action in enumerate(actions):
                if isinstance(action, AskWebhook):
                    steps[index] = Step(str(action), "asked")
                    return action.webhook
                self._steps += 1
                if self._steps > MOST_STEPS_OF_A_CALL:
                    raise StepError(f"this call has run {MOST_STEPS_OF_A_CALL} actions; that looks like a loop")
                steps[index] = Step(str(action), "begun")
                steps[index] = Step(str(action), await self._runner.do(action))
                if isinstance(action, ReadDigits):  # no digits this time replace the digits of an earlier menu
                    self._known["additional_number"] = self._runner.digits
                if self._runner.over:
                    break
        except (StepError, CommandError) as error:
            steps[index] = Step(str(action), f"failed: {error}")
            await self._take_default(question, default, asked, str(error))
        except HungUpError:
            if steps[index].result == "begun":
                steps[index] = Step(str(action), "until the call ended")
            raise
        finally:
            self._shared.questions.put(question)
        if question.line == 0:
            await self._set("PBXHUB_LINE", "0")
        return ""

    async def _take_default(self, question: QuestionToWrite, default: str, asked: Asked, why: str) -> None:
        question.line = 1
        await self._fail("INVALID_RESPONSE", why)
        if default:
            shown = f"default route: dial {default}"
            question.steps.append(Step(shown, "until the call ended"))
            question.steps[-1] = Step(shown, await self._runner.dial(default, asked.steering.ring))

    async def _set(self, name: str, text: str) -> None:
        """Sets a channel variable unless it has this value already, because each command costs a round trip.

        PBXHUB_* variables start empty (the dialplan clears them); HUB_* may have a value from an earlier question.
        """
        if self._variables.get(name, "" if name.startswith("PBXHUB_") else None) != text:
            await self._wire.command("SET VARIABLE", name, text)
            self._variables[name] = text

    async def _fail(self, reason: str, sentence: str) -> None:
        await self._set("PBXHUB_LINE", "1")
        await self._set("PBXHUB_RESPONSE_STATUS", "FAILED")
        await self._set("PBXHUB_RESPONSE_ERROR", "true")
        await self._set("PBXHUB_ERROR_REASON", reason)
        await self._set("PBXHUB_ERROR_SENTENCE", variable_text(sentence))

    async def _fetch_sound(self, url: str) -> str:
        ending_of(url)
        request = Request("GET", url, (), b"")
        answer = await self._send(Outgoing(request, f"sound:{self._pbx_id}", SOUND_TIME, networks=self._networks))
        return await asyncio.to_thread(keep_sound, self._shared.sounds, url, answer)


_ANSWER_VALUES = (
    "response_status_code", "response_status_type", "response_duration", "response_raw", "response_error",
    "error_reason", "error_sentence",
)  # fmt: skip
