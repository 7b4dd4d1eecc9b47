"""Which call is incoming, outgoing or internal.

The first of these moments settles it for good: the first channel arrives from outside (arrivals.py), somebody outside
is dialled (dialling.py), or the dialplan says so (user_events.py). A call without such a moment is internal.
"""

from collections.abc import Mapping

from pbxhub.calls.phases import Moment
from pbxhub.calls.stages import Direction

SETTLES: Mapping[Moment, Direction] = {"arrives": "incoming", "departs": "outgoing", "stays_inside": "internal"}
"""The direction that a moment settles; once settled, it never changes."""

UNSETTLED: Direction = "internal"
