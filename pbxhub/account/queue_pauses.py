"""Members of queues that programs pause: they get no calls of the queue until the pause ends."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import Action, note
from pbxhub.account.call_orders import pbx_for_orders
from pbxhub.account.refusals import BusyError, Refusal
from pbxhub.delivery.outbox import register_pause, waiting_pauses
from pbxhub.steering.dialplan_text import MEMBER, NAME, is_quoted
from pbxhub.store.accounts import lock_project
from pbxhub.store.ids import new_id
from pbxhub.store.queue_pauses import WAITING, QueuePause
from pbxhub.translatable import say

MOST_WAITING = 100  # of a project


@dataclass(frozen=True, slots=True)
class MemberPause:
    """What to do. member: PJSIP/101. queue: "" = all of its queues. paused: False ends the pause. reason: for the
    statistics of the queue. pbx_id: None = the oldest that is enabled."""

    member: str
    queue: str
    paused: bool
    reason: str
    pbx_id: int | None


def pause_member(session: Session, access: Access, wanted: MemberPause) -> QueuePause | list[Refusal]:
    """Puts the order in the queue of its PBX, or says why not. Raises BusyError while too many wait."""
    pbx = pbx_for_orders(session, access, wanted.pbx_id)
    refused = [*([pbx] if isinstance(pbx, Refusal) else ()), *_refusals(wanted)]
    if refused or isinstance(pbx, Refusal):
        return refused
    lock_project(session, access.project.id)  # two orders at the same moment must not both be the last allowed
    if waiting_pauses(session, access.project.id) >= MOST_WAITING:
        raise BusyError(say("%(n)s pauses of this project wait for their PBX.", n=MOST_WAITING), 5)
    order = QueuePause(
        id=new_id(), project_id=access.project.id, pbx_id=pbx.id, member=wanted.member, queue=wanted.queue,
        paused=wanted.paused, reason=wanted.reason, status=WAITING, message="",
        created_on=access.now,
    )  # fmt: skip
    register_pause(access.hub.context, session, order)
    action: Action = "queue member paused" if wanted.paused else "queue member unpaused"
    note(session, access, action, wanted.member, {}, {"queue": wanted.queue} if wanted.queue else {})
    return order


def _refusals(wanted: MemberPause) -> Iterator[Refusal]:
    if not MEMBER.fullmatch(wanted.member):
        yield Refusal("member", say("This is not a queue member."), say("Write it as in the queue, like PJSIP/101."))
    if wanted.queue and not NAME.fullmatch(wanted.queue):
        yield Refusal("queue", say("This is not the name of a queue."), say("Use Latin letters, digits, -, . and _."))
    if found := next((each for each in wanted.reason if not each.isprintable() or not is_quoted(each)), ""):
        wrong = say("The reason has %(character)s, which may have a meaning in the dialplan.", character=repr(found))
        yield Refusal("reason", wrong, say("Write it without %(these)s and brackets.", these='% , ; & @ $ | " \\'))
