"""What programs order through the API, over the listener's own connection: calls are placed, and hung up when they are
cancelled; members of queues are paused."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import structlog
from panoramisk.actions import Action
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.ami.manager_actions import ActionRefusedError, build
from pbxhub.ami.pbx_rows import PbxRow
from pbxhub.ami.protocol import AmiResponse, SessionEndedError
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.ordered_call_status import Placement, Turn, end_without_channel, take
from pbxhub.delivery.outbox.queue_pause_status import PauseToSend, settle_pause, take_pauses
from pbxhub.store.clock import utc_now
from pbxhub.store.listeners import may_write

_BEYOND = 10.0  # seconds the PBX may take beyond the ringing time to report the result
Ask = Callable[[Action, float], Awaitable[AmiResponse]]
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The PBX reports that a call was not set up. begun: it tried, so a channel may have existed."""

    id: UUID
    channel_id: str
    said: str
    begun: bool


class Placing:
    """Places calls and pauses members on one PBX. ask: sends an action over its connection, once. connected: whether it
    is connected.

    report: puts the PBX's answer into the inbox, after the call's events. When no channel of the call exists by then,
    record_failure() writes it. The order matters: OriginateResponse arrives before the Hangup of a phone that refused,
    and gives the same Reason 0 for busy, declined and unreachable. Only the channel's Hangup distinguishes them.
    """

    def __init__(
        self, context: DeliveryContext, row: PbxRow, ask: Ask, connected: Callable[[], bool],
        report: Callable[[NotBegun], None],
    ) -> None:  # fmt: skip
        self._context = context
        self._row = row
        self._ask = ask
        self._connected = connected
        self._report = report
        self._asked = asyncio.Event()

    def turn(self) -> None:
        """An order is open on this PBX: places it, or hangs up its call (OrderWakeup)."""
        self._asked.set()

    async def run(self) -> None:
        """Runs until cancelled. An order sent to the PBX and not answered by then is not sent again."""
        async with asyncio.TaskGroup() as asking:
            while True:
                await self._asked.wait()
                self._asked.clear()
                if not self._connected():
                    continue
                try:
                    turn, pauses = await asyncio.to_thread(self._take)
                except SQLAlchemyError as error:
                    log.warning("ordered calls cannot be read; trying again", pbx=self._row.id, error=str(error))
                    continue
                if turn.more:
                    self._asked.set()
                for placement in turn.place:
                    asking.create_task(self._place(placement))
                for channel_id in turn.hang_up:
                    asking.create_task(self._hang_up(channel_id))
                for pause in pauses:  # each task writes its action when it begins, so the PBX gets them in this order
                    asking.create_task(self._pause(pause))

    def _take(self) -> tuple[Turn, tuple[PauseToSend, ...]]:
        with self._context.database.write() as session:
            if not may_write(session, self._row.id, self._row.token):
                return Turn(), ()
            now = utc_now()
            return take(self._context, session, self._row.id, now), take_pauses(session, self._row.id, now)

    async def _place(self, placement: Placement) -> None:
        try:
            answer = await self._ask(originate(placement), placement.ring_seconds + _BEYOND)
        except ActionRefusedError as error:
            self._report(NotBegun(placement.id, placement.channel_id, str(error), begun=False))
        except SessionEndedError as ended:  # the call may have begun: its events or the time limit decide
            log.warning(
                "connection lost while placing a call; its outcome is unknown",
                order=str(placement.id),
                reason=str(ended),
            )
        else:
            begun = any("Event: OriginateResponse" in block for block in answer.blocks)
            if not answer.success or any("Response: Failure" in block for block in answer.blocks):
                self._report(NotBegun(placement.id, placement.channel_id, answer.message, begun))

    def record_failure(self, failure: NotBegun) -> None:
        """Writes the failure into the order. Raises database errors."""
        with self._context.database.write() as session:
            end_without_channel(self._context, session, failure.id, failure.begun, failure.said, utc_now())

    async def _hang_up(self, channel_id: str) -> None:
        try:
            answer = await self._ask(build("Hangup", {"Channel": channel_id}), _BEYOND)
        except SessionEndedError as ended:
            log.warning(
                "connection lost while cancelling a call; it may still ring", channel=channel_id, reason=str(ended)
            )
        else:
            log.info("call cancelled", channel=channel_id, answer=answer.message)

    async def _pause(self, order: PauseToSend) -> None:
        try:
            answer = await self._ask(queue_pause(order), _BEYOND)
        except ActionRefusedError as error:
            success, said = False, str(error)
        except SessionEndedError as ended:  # the PBX may have done it: the order ends with "outcome unknown"
            log.warning("connection lost while pausing a queue member", order=str(order.id), reason=str(ended))
            return
        else:
            success, said = answer.success, answer.message
        try:
            await asyncio.to_thread(self._write_pause, order.id, success, said)
        except SQLAlchemyError as error:
            log.warning("the result of a queue pause cannot be written", order=str(order.id), error=str(error))

    def _write_pause(self, order_id: UUID, success: bool, said: str) -> None:
        with self._context.database.write() as session:
            settle_pause(session, order_id, success, said, utc_now())


def queue_pause(order: PauseToSend) -> Action:
    """The action that pauses a member, or ends its pause. Raises ActionRefusedError."""
    headers = {"Interface": order.member, "Paused": "true" if order.paused else "false"}
    if order.queue:
        headers["Queue"] = order.queue
    if order.reason:
        headers["Reason"] = order.reason
    return build("QueuePause", headers)


def originate(placement: Placement) -> Action:
    """The action that calls the agent's phone first, then the number in the context. Raises ActionRefusedError."""
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
