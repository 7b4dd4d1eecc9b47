"""How good a call sounded, from what the RTP streams counted."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

_PACKET = 20.0  # ms of speech in one packet
_ROBUSTNESS = 4.3  # G.711 without concealment against random loss, ITU-T G.113 appendix I
_BEST = 93.2  # R with default values of ITU-T G.107


@dataclass(frozen=True, slots=True)
class Quality:
    """Of what the agent heard: mos 1 to 4.5 by the E-model of ITU-T G.107 for G.711; jitter and round trip in ms."""

    mos: float
    jitter_ms: float
    loss_percent: float
    round_trip_ms: float


def quality_of(stats: Mapping[str, Any]) -> Quality:
    """From baresip's rtcp_stats: packets received and lost, jitter and round trip in microseconds."""
    heard = stats["rx"]
    received, lost = int(heard["sent"]), max(0, int(heard["lost"]))
    loss = 100.0 * lost / (received + lost) if received + lost else 0.0
    jitter, trip = int(heard["jit"]) / 1000, int(stats["rtt"]) / 1000
    delay = trip / 2 + 2 * jitter + _PACKET  # one way, with a playout buffer of two jitters
    return Quality(round(mean_opinion(delay, loss), 2), jitter, round(loss, 3), trip)


def mean_opinion(delay_ms: float, loss_percent: float) -> float:
    """MOS for a one-way delay and a random loss of packets."""
    impaired_by_delay = 0.024 * delay_ms + 0.11 * max(0.0, delay_ms - 177.3)
    impaired_by_loss = 95.0 * loss_percent / (loss_percent + _ROBUSTNESS)
    r = min(100.0, max(0.0, _BEST - impaired_by_delay - impaired_by_loss))
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


class Measured(Protocol):
    """What has a quality: an agent."""

    username: str

    @property
    def registered(self) -> bool: ...
    @property
    def quality(self) -> Quality | None: ...


def measure(agent: Measured, registers: bool) -> dict[str, Any]:
    """The figures of one agent for reports and the monitor; registered is None for an agent that need not."""
    quality = asdict(agent.quality) if agent.quality else dict.fromkeys(Quality.__slots__)
    return {"name": agent.username, "registered": agent.registered if registers else None, **quality}
