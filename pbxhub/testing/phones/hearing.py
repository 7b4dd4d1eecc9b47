"""Whether a tone is heard from a moment on: what was recorded before it does not count."""

from pathlib import Path

from pbxhub.testing.phones.tones import CLEAR, WINDOW_BYTES, tone_share


class Hearing:
    """Listens to recordings that grow, from now on."""

    def __init__(self, recordings: list[Path]) -> None:
        self._before = {path: path.stat().st_size for path in recordings}

    def check(self, recordings: list[Path], hertz: float, who: object) -> None:
        """Raises AssertionError unless the newest that was recorded since the beginning is the tone."""
        grown = [path for path in recordings if path.stat().st_size >= self._since(path) + WINDOW_BYTES]
        assert grown, (
            f"{who} has heard nothing new; when it was on hold before: baresip records no more after a hold, so ask "
            "before the hold or in another call"
        )
        share = tone_share(grown[-1], hertz, self._since(grown[-1]))
        assert share >= CLEAR, f"{who} does not hear {hertz:g} Hz: it is {share:.0%} of what arrives"

    def _since(self, recording: Path) -> int:
        return self._before.get(recording, 0)
