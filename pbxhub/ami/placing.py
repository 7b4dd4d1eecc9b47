"""Places the calls that programs have ordered, over the line that listens anyway, and hangs up those called off."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import structlog
from panoramisk.actions import Action
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.ami.actions import ActionRefusedError, build
from pbxhub.ami.protocol import Answer, SessionEndedError
from pbxhub.delivery.outbox.ordered import Placement, Turn, has_work, settle, take
from pbxhub.delivery.values import Links
from pbxhub.store.session import Database

_LOOK = 0.3  # seconds between two looks for orders: one indexed question each
_BEYOND = 10.0  # seconds the PBX may take beyond the ringing to say how it went
Ask = Callable[[Action, float], Awaitable[Answer]]
log = structlog.get_logger(__name__)


class Placing:
    """Of one PBX. ask: sends an action over its line, once. connected: whether there is one."""

    def __init__(self, pbx_id: int, database: Database, links: Links, ask: Ask, connected: Callable[[], bool]) -> None:
        self._pbx_id = pbx_id
        self._database = database
        self._links = links
        self._ask = ask
        self._connected = connected

    async def run(self) -> None:
        """Goes on until cancelled; what was asked of the PBX and not answered by then stays taken."""
        async with asyncio.TaskGroup() as asking:
            while True:
                await asyncio.sleep(_LOOK)
                if not self._connected():
                    continue
                try:
                    turn = await asyncio.to_thread(self._take)
                except SQLAlchemyError as error:
                    log.warning("ordered calls cannot be read", pbx=self._pbx_id, error=str(error))
                    continue
                for placement in turn.place:
                    asking.create_task(self._place(placement))
                for channel_id in turn.hang_up:
                    asking.create_task(self._hang_up(channel_id))

    def _take(self) -> Turn:
        with self._database.read() as session:
            if not has_work(session, self._pbx_id):
                return Turn()
        with self._database.write() as session:
            return take(session, self._links, self._pbx_id, datetime.now(UTC))

    async def _place(self, placement: Placement) -> None:
        try:
            answer = await self._ask(originate(placement), placement.ring_seconds + _BEYOND)
        except ActionRefusedError as error:
            await self._settle(placement.id, "", str(error))
        except SessionEndedError as ended:  # it may have begun: its events or the time will tell
            log.warning("the line broke while a call was placed", order=str(placement.id), reason=str(ended))
        else:
            if not answer.success or any("Response: Failure" in block for block in answer.blocks):
                await self._settle(placement.id, _reason(answer), answer.message)

    async def _settle(self, order_id: UUID, code: str, said: str) -> None:
        def write() -> None:
            with self._database.write() as session:
                settle(session, self._links, order_id, code, said, datetime.now(UTC))

        try:
            await asyncio.to_thread(write)
        except SQLAlchemyError as error:  # it counts as lost when its time is over
            log.warning("how a call began could not be written", order=str(order_id), error=str(error))

    async def _hang_up(self, channel_id: str) -> None:
        try:
            answer = await self._ask(build("Hangup", {"Channel": channel_id}), _BEYOND)
        except SessionEndedError as ended:
            log.warning("the line broke while a call was called off", channel=channel_id, reason=str(ended))
        else:
            log.info("call called off", channel=channel_id, said=answer.message)


def originate(placement: Placement) -> Action:
    """The action: the agent's phone first, then the number in the context. Raises ActionRefusedError."""
    headers = {
        "Channel": placement.channel,
        "Context": placement.context,
        "Exten": placement.number,
        "Priority": "1",
        "Timeout": str(placement.ring_seconds * 1000),
        "ChannelId": placement.channel_id,
    }
    if placement.channel.startswith("Local/"):
        headers["OtherChannelId"] = f"{placement.channel_id}-2"
    if placement.from_number:
        headers["CallerID"] = placement.from_number
    return build("Originate", headers)


def _reason(answer: Answer) -> str:
    """Reason of the OriginateResponse; "" of a plain refusal."""
    for block in answer.blocks:
        for line in block.splitlines():
            if line.startswith("Reason: "):
                return line.removeprefix("Reason: ").strip()
    return ""
