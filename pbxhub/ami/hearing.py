"""Which channels were heard live, and which of them from their beginning to their end."""

from collections.abc import Iterable

from pbxhub.calls.ami_events import Hangup, Message, Newchannel, Status

_MOST = 50_000  # channels remembered after their end; a CEL row comes seconds later


class Hearing:
    """live: uniqueids of the channels that live, by the last stock and the events since."""

    def __init__(self) -> None:
        self.live: set[str] = set()
        self._begun: set[str] = set()  # heard to begin since the last stock
        self._whole: dict[str, None] = {}

    def hear(self, message: Message) -> None:
        """An event that the tracker has been told."""
        if isinstance(message, Newchannel):
            self.live.add(message.channel.uniqueid)
            self._begun.add(message.channel.uniqueid)
        elif isinstance(message, Hangup):
            self.live.discard(message.uniqueid)
            if message.uniqueid in self._begun:
                self._begun.remove(message.uniqueid)
                self._whole[message.uniqueid] = None
                if len(self._whole) > _MOST:
                    del self._whole[next(iter(self._whole))]

    def take_stock(self, channels: Iterable[Status]) -> None:
        """Something may have been missed: what lives now was not heard without a gap."""
        self.live = {status.channel.uniqueid for status in channels}
        self._begun.clear()

    def heard_whole(self, uniqueids: Iterable[str]) -> bool:
        """Whether each of these channels was heard from its beginning to its end without a gap."""
        return all(uniqueid in self._whole for uniqueid in uniqueids)
