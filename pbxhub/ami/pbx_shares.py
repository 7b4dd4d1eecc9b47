"""Decides which PBXs a listener takes and gives away, so that all listeners have as many, give or take one."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from pbxhub.store.listeners import Held, Sight


@dataclass(frozen=True, slots=True)
class ShareChange:
    """take: PBXs that nobody has. give: PBXs that others should have."""

    take: tuple[int, ...] = ()
    give: tuple[int, ...] = ()


def fair_change(me: UUID, sight: Sight, may_inherit: bool) -> ShareChange:
    """Every listener that sees the same comes to the same shares: those that have the most keep the odd ones, so that
    as few PBXs as possible change hands; and of the free PBXs each takes another part.

    may_inherit: whether this listener may take over from dead ones.
    """
    held = Counter(lease.listener for lease in sight.leases if lease.listener)
    members = sorted(sight.settled | {me}, key=lambda one: (-held[one], one))
    each, odd = divmod(len(sight.leases), len(members))
    shares = {one: each + (place < odd) for place, one in enumerate(members)}
    mine = sorted(lease.pbx_id for lease in sight.leases if lease.listener == me)
    free = sorted(lease.pbx_id for lease in sight.leases if _is_free(lease, may_inherit))
    missing = {one: max(0, shares[one] - held[one]) for one in members}
    first = sum(missing[one] for one in members[: members.index(me)])
    return ShareChange(tuple(free[first : first + missing[me]]), tuple(mine[shares[me] :]))


def everything(me: UUID, sight: Sight) -> ShareChange:
    """What a listener does that is about to stop."""
    return ShareChange(give=tuple(sorted(lease.pbx_id for lease in sight.leases if lease.listener == me)))


def _is_free(lease: Held, may_inherit: bool) -> bool:
    return lease.listener is None and (lease.released or may_inherit)


def tokens_of(me: UUID, sight: Sight, without: Collection[int]) -> dict[int, int]:
    """The leases that this listener has, but for those that it is giving away."""
    return {lease.pbx_id: lease.token for lease in sight.leases if lease.listener == me and lease.pbx_id not in without}
