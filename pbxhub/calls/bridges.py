"""Who is in which bridge, and which channels can hear the caller: directly, or through pairs of Local channels."""

from collections.abc import Iterator

_MOST = 50_000  # channels in bridges; an Asterisk has fewer
HOLDING = frozenset({"agent_hold", "parking"})
"""Types of bridges in which nobody talks: agents who wait for a call, parked callers."""


class Bridges:
    """seen: whether any BridgeEnter has come: before, nobody knows whether this stream has them."""

    def __init__(self) -> None:
        self.seen = False
        self._bridge_of: dict[str, str] = {}
        self._types: dict[str, str] = {}
        self._members: dict[str, dict[str, None]] = {}

    def enter(self, uniqueid: str, bridge: str, kind: str) -> None:
        self.leave(uniqueid)
        if kind not in HOLDING and len(self._bridge_of) < _MOST:
            self._bridge_of[uniqueid] = bridge
            self._types[bridge] = kind
            self._members.setdefault(bridge, {})[uniqueid] = None

    def leave(self, uniqueid: str) -> None:
        """It has left its bridge, or has hung up."""
        bridge = self._bridge_of.pop(uniqueid, "")
        members = self._members.get(bridge)
        if members is not None:
            members.pop(uniqueid, None)
            if not members:
                del self._members[bridge], self._types[bridge]

    def __len__(self) -> int:
        """How many channels are in bridges."""
        return len(self._bridge_of)

    def clear(self) -> None:
        """Events may have been missed: nothing is known of any bridge."""
        self._bridge_of.clear()
        self._types.clear()
        self._members.clear()

    def is_conference(self, uniqueid: str) -> bool:
        """Whether this channel is in a bridge for many: ConfBridge, Page."""
        return self._types.get(self._bridge_of.get(uniqueid, ""), "basic") not in ("basic", "")

    def others(self, uniqueid: str) -> Iterator[str]:
        """Who else is in the bridge of this channel."""
        for member in self._members.get(self._bridge_of.get(uniqueid, ""), ()):
            if member != uniqueid:
                yield member
