"""Who is in which bridge, and which channels can hear the caller: directly, or through pairs of Local channels."""

from collections.abc import Iterator

FOR_TWO = frozenset({"basic", ""})
HOLDING = frozenset({"agent_hold", "parking"})
"""Bridge types in which two parties talk, and in which nobody talks: waiting agents, parked callers."""


class Bridges:
    """The bridges for two. seen: whether any channel has entered one; until then, this PBX may send no bridge events.

    A channel is listed from BridgeEnter to BridgeLeave or its hangup, so there are never more entries than channels.
    """

    def __init__(self) -> None:
        self.seen = False
        self._bridge_of: dict[str, str] = {}
        self._members: dict[str, dict[str, None]] = {}

    def enter(self, uniqueid: str, bridge: str) -> None:
        self.seen = True
        if uniqueid in self._bridge_of:
            self.leave(uniqueid)
        self._bridge_of[uniqueid] = bridge
        self._members.setdefault(bridge, {})[uniqueid] = None

    def leave(self, uniqueid: str) -> None:
        """The channel has left its bridge or hung up."""
        bridge = self._bridge_of.pop(uniqueid, None)
        if bridge is not None:
            members = self._members[bridge]
            del members[uniqueid]
            if not members:
                del self._members[bridge]

    def __len__(self) -> int:
        """How many channels are in bridges."""
        return len(self._bridge_of)

    def clear(self) -> None:
        """Events may have been missed: forgets every bridge."""
        self._bridge_of.clear()
        self._members.clear()

    def others(self, uniqueid: str) -> Iterator[str]:
        """The other channels in this channel's bridge."""
        for member in self._members.get(self._bridge_of.get(uniqueid, ""), ()):
            if member != uniqueid:
                yield member
