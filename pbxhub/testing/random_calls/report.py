"""Plays many random calls, counts them, reduces and records the differences, and prints a summary."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pbxhub.testing.pbx.asterisk import Asterisk, Dialplan, TrunkDriver, running_asterisk
from pbxhub.testing.random_calls.cel import compare_with_cel
from pbxhub.testing.random_calls.compare import Difference
from pbxhub.testing.random_calls.draw import draw
from pbxhub.testing.random_calls.gaps import Gap, play_with_gaps
from pbxhub.testing.random_calls.lab import Lab, Outcome
from pbxhub.testing.random_calls.recordings import write
from pbxhub.testing.random_calls.reduce import reduce
from pbxhub.testing.random_calls.script import Script

_CEL_IS_WRITTEN = 2.0  # seconds
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """calls: how many, drawn from the seed. version, dialplan: of Asterisk. cells: how many calls at once.

    off: kinds of calls to leave out. folder: where differences are recorded, one of each kind.
    cel: also compare what CEL alone shows. gaps: also compare a hub during these interruptions, reads_cel: which may
    read CEL.
    """

    calls: int
    seed: int
    version: int = 22
    dialplan: Dialplan = "freepbx"
    trunk: TrunkDriver = "pjsip"
    cells: int = 10
    off: Collection[str] = ()
    folder: Path | None = None
    cel: bool = False
    gaps: Sequence[Gap] = ()
    reads_cel: bool = True


def play_random(wanted: Wanted, say: Say = lambda line: None) -> list[Outcome]:
    """Starts an Asterisk, plays the calls and returns their outcomes. Raises AsteriskMissingError."""
    with running_asterisk(wanted.version, "", wanted.dialplan, wanted.cells, wanted.trunk) as pbx:
        return asyncio.run(_play(pbx, wanted, say))


async def _play(pbx: Asterisk, wanted: Wanted, say: Say) -> list[Outcome]:
    lab = Lab(pbx, wanted.dialplan, wanted.cells)
    try:
        await lab.start()
        scripts = [
            draw(wanted.seed, number, wanted.dialplan == "freepbx", wanted.off) for number in range(wanted.calls)
        ]
        outcomes = await _play_all(lab, wanted, scripts, say)
        if wanted.cel:
            await asyncio.sleep(_CEL_IS_WRITTEN)
            _tell_rough("from CEL alone", compare_with_cel(pbx.cel_database, outcomes), outcomes, say)
        if wanted.folder is not None:
            await _record(lab, wanted, outcomes, say)
        return outcomes
    finally:
        lab.close()


async def _play_all(lab: Lab, wanted: Wanted, scripts: Sequence[Script], say: Say) -> list[Outcome]:
    playing = lab.play_all(scripts, lambda outcome: _tell(outcome, say))
    if not wanted.gaps:
        return await playing
    outcomes, found = await play_with_gaps(lab, wanted.gaps, wanted.seed, playing, wanted.reads_cel)
    _tell_rough("with gaps", found, outcomes, say)
    return outcomes


def _tell_rough(how: str, found: Sequence[tuple[Outcome, Difference]], outcomes: Sequence[Outcome], say: Say) -> None:
    for outcome, difference in found:
        say(f"{how}, {outcome.script.name}: {outcome.script}\n    {difference.kind}: {difference.sentence}")
    played = [outcome for outcome in outcomes if not outcome.failed]
    right = len(played) - len({outcome.script.name for outcome, _ in found})
    say(f"{how}: {right} of {len(played)} calls are right")


def _tell(outcome: Outcome, say: Say) -> None:
    if outcome.failed:
        say(f"{outcome.script.name}: not played, {outcome.failed}: {outcome.script}")
    elif outcome.differences:
        say(f"{outcome.script.name}: {outcome.script}")
        for difference in outcome.differences:
            say(f"    {difference.kind}: {difference.sentence}")


async def _record(lab: Lab, wanted: Wanted, outcomes: Sequence[Outcome], say: Say) -> None:
    """Records one difference of each kind: the shortest script, reduced further."""
    assert wanted.folder is not None
    classes: dict[str, Outcome] = {}
    for outcome in sorted(disagreeing(outcomes), key=lambda outcome: len(outcome.script.acts)):
        classes.setdefault(outcome.kind, outcome)
    for kind, outcome in classes.items():
        shortest = await reduce(lab, outcome)
        name = f"{wanted.dialplan}_{wanted.version}_{kind.replace(' ', '_').replace('.', '_')}"
        setting = (
            f"Asterisk {wanted.version}, {wanted.dialplan} cells, trunks {wanted.trunk}, script {outcome.script.name}"
        )
        say(f"{kind}: {shortest.script} -> {write(shortest, wanted.folder, name, setting)}")


def disagreeing(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of played scripts in which the hub and the phones differ."""
    return [outcome for outcome in outcomes if outcome.differences and not outcome.failed]


def summary(outcomes: Sequence[Outcome]) -> str:
    """One line: how many calls agree, and how many differ by kind."""
    played = [outcome for outcome in outcomes if not outcome.failed]
    wrong = disagreeing(outcomes)
    share = 100 * (len(played) - len(wrong)) / len(played) if played else 0.0
    ways = Counter(outcome.kind for outcome in wrong).most_common()
    failed = f", {len(outcomes) - len(played)} could not be played" if len(played) < len(outcomes) else ""
    told = "".join(f"; {count} {kind}" for kind, count in ways)
    return f"{len(played) - len(wrong)} of {len(played)} random calls agree ({share:.1f} %){failed}{told}"
