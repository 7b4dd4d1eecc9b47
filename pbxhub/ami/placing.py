"""Places the calls that programs have ordered, over the line that listens anyway, and hangs up those called off."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog
from panoramisk.actions import Action
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.ami.actions import ActionRefusedError, build
from pbxhub.ami.protocol import Answer, SessionEndedError
from pbxhub.delivery.outbox.ordered_calls import Placement, Turn, has_work, settle, take
from pbxhub.delivery.stage_values import Links
from pbxhub.store.session import Database

_LOOK = 0.3  # seconds between two looks for orders: one indexed question each
_BEYOND = 10.0  # seconds the PBX may take beyond the ringing to say how it went
Ask = Callable[[Action, float], Awaitable[Answer]]
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The PBX says that a call did not come about. begun: it had tried, so that there may have been a channel."""

    id: UUID
    channel_id: str
    said: str
    begun: bool


class Placing:
    """Of one PBX. ask: sends an action over its line, once. connected: whether there is one.

    tell: puts what the PBX says of a call behind everything heard of it; settle() it where no channel was heard of.
    OriginateResponse comes before the Hangup of a phone that refused and calls it a failure (Reason 0), as it calls a
    phone that is not there: only the channel tells busy and declined from unreachable.
    """

    def __init__(
        self, pbx_id: int, database: Database, links: Links, ask: Ask, connected: Callable[[], bool],
        tell: Callable[[NotBegun], None],
    ) -> None:  # fmt: skip
        self._pbx_id = pbx_id
        self._database = database
        self._links = links
        self._ask = ask
        self._connected = connected
        self._tell = tell

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
            self._tell(NotBegun(placement.id, placement.channel_id, str(error), begun=False))
        except SessionEndedError as ended:  # it may have begun: its events or the time will tell
            log.warning("the line broke while a call was placed", order=str(placement.id), reason=str(ended))
        else:
            begun = any("Event: OriginateResponse" in block for block in answer.blocks)
            if not answer.success or any("Response: Failure" in block for block in answer.blocks):
                self._tell(NotBegun(placement.id, placement.channel_id, answer.message, begun))

    def settle(self, what: NotBegun) -> None:
        """Writes it on the order. Raises what the database does."""
        with self._database.write() as session:
            settle(session, self._links, what.id, what.begun, what.said, datetime.now(UTC))

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
