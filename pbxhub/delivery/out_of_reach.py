"""What the sender of `pbxhub listen` cannot send from its host, and leaves to the workers.

A listener may have other settings than the workers: no PBXHUB_ALLOWED_NETWORKS, or no PBXHUB_RECORDINGS. The order of
events: 1. the commit of a stage hands a delivery to this sender; 2. its address guard refuses the receiver, before
anything was sent; 3. hand_over takes the claim and its attempt back, and wakes the workers; 4. for a minute, this
sender claims nothing more of that webhook. A worker that may not reach the receiver either records that it is blocked.
tests/test_hand_over_new_deliveries.py
"""

import time
from collections.abc import Collection

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.claimed import Claimed
from pbxhub.delivery.outbox.lost_attempts import hand_over

_LEAVE = 60.0  # seconds


class OutOfReach:
    """Used by the thread of one sender; webhooks also by those that publish."""

    def __init__(self) -> None:
        self._claimed: list[Claimed] = []
        self._webhooks: dict[int, float] = {}  # when each was refused, in monotonic seconds

    def __bool__(self) -> bool:
        return bool(self._claimed)

    def add(self, claimed: Claimed) -> None:
        self._claimed.append(claimed)
        self._webhooks[claimed.webhook.id] = time.monotonic()

    def webhooks(self) -> Collection[int]:
        """Those of which this sender claims nothing at the moment."""
        since = time.monotonic() - _LEAVE
        return {webhook_id for webhook_id, refused in list(self._webhooks.items()) if refused > since}

    def leave(self, context: DeliveryContext) -> None:
        """Writes it. Raises database errors; call it again then."""
        if self._claimed:
            with context.database.write() as session:
                hand_over(context, session, self._claimed, context.clock())
            self._claimed.clear()

    def forget(self) -> None:
        """Their leases end, and workers send them."""
        self._claimed.clear()
