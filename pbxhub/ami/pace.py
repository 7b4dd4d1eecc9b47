"""How fast the events of a PBX come."""

from collections import deque

_MINUTE = 60.0


class Pace:
    """Counts events. hear() is called for each one, so it does next to nothing; last_minute() about every second."""

    def __init__(self, now: float) -> None:
        self.last = 0.0  # when the newest event came, Unix time; 0 before the first
        self._count = 0
        self._marks = deque([(now, 0)])  # a time and the count at it, over a little more than a minute

    def hear(self, on: float) -> None:
        """An event of this Unix time."""
        self._count += 1
        self.last = on

    def last_minute(self, now: float) -> int:
        """Events of the last 60 s, as exact as the times between calls. now: seconds of one clock."""
        self._marks.append((now, self._count))
        while len(self._marks) > 1 and self._marks[1][0] <= now - _MINUTE:
            self._marks.popleft()
        return self._count - self._marks[0][1]
