"""The steps of a run: what each does, and how often it comes. Every step draws from a seed of its own."""

from collections.abc import Callable
from random import Random

from tests.support.simulation.process import Process
from tests.support.simulation.world import FAULTS, World


def _some(world: World, awake: bool = True) -> Process | None:
    alive = world.alive(awake)
    return world.chance.choice(alive) if alive else None


def _listener(world: World) -> Process | None:
    process = world.processes[0]
    return process if process and not process.frozen else None


def play(world: World) -> None:
    for _ in range(world.chance.randrange(1, 6)):
        world.play()


def hear(world: World) -> None:
    if process := _listener(world):
        world.step_of(process, process.hear)


def write(world: World) -> None:
    if process := _listener(world):
        world.step_of(process, process.write, FAULTS)


def note(world: World) -> None:
    if process := _listener(world):
        world.step_of(process, process.note)


def work(world: World) -> None:
    if process := _some(world):
        world.step_of(process, process.round, FAULTS)


def leave(world: World) -> None:
    if (process := _some(world)) and process.wire.waiting:
        process.wire.leave(world.chance.randrange(len(process.wire.waiting)), world.receivers, world.chance)


def answer(world: World) -> None:
    if (process := _some(world)) and process.wire.in_air:
        process.wire.come_back(world.chance.randrange(len(process.wire.in_air)))


def wait(world: World) -> None:
    world.pass_time(world.chance.random() * world.chance.choice((0.01, 1.0, 1.0, 10.0, 40.0)))


def wait_long(world: World) -> None:
    world.pass_time(world.chance.random() * 1_200)
    world.sweep(FAULTS)


def begin(world: World) -> None:
    """A dead process starts again; its start may fail."""
    for number, process in enumerate(world.processes):
        if process is None:
            world.begin(number)
            return


def connect(world: World) -> None:
    world.connect()


def kill(world: World) -> None:
    if process := _some(world, awake=False):
        world.bury(process)
        world.look()


def stop(world: World) -> None:
    """In order; the database may be away meanwhile."""
    process = _some(world)
    if process is None:
        return
    number = world.processes.index(process)
    if number == 0:
        world.pbx.is_missed()
        world.step_of(process, process.stop_listening, FAULTS)
    if world.processes[number] is process:
        world.excuse(process)
        world.step_of(process, process.stop_working, FAULTS)
        world.processes[number] = None


def cut(world: World) -> None:
    """The line to the PBX breaks: what happens until it is mended is not heard."""
    if process := _listener(world):
        process.connected = False


def freeze(world: World) -> None:
    if process := _some(world):
        process.frozen = True
        world.excuse(process)


def thaw(world: World) -> None:
    for process in world.alive(awake=False):
        process.frozen = False


def jump(world: World) -> None:
    """The clock of a host jumps, in the runs in which clocks do."""
    number = world.chance.randrange(len(world.offsets))
    if world.jumps:
        world.offsets[number] = world.chance.choice((-3600.0, -40.0, -5.0, 0.0, 5.0, 40.0, 3600.0))
        world.excuse_all()
        if process := world.processes[number]:
            process.offset = world.offsets[number]


def pause(world: World) -> None:
    world.set_pause(world.chance.choice(world.webhook_ids), on=True)


def resume(world: World) -> None:
    world.set_pause(world.chance.choice(world.webhook_ids), on=False)


Step = Callable[[World], None]
OFTEN: dict[Step, int] = {
    play: 30, hear: 15, write: 20, note: 4, work: 25, leave: 20, answer: 18, wait: 12, wait_long: 1, begin: 8,
    connect: 8, kill: 1, stop: 1, cut: 1, freeze: 1, thaw: 4, jump: 1, pause: 1, resume: 3,
}  # fmt: skip
_STEPS, _WEIGHTS = list(OFTEN), list(OFTEN.values())


def draw(chance: Random) -> Step:
    return chance.choices(_STEPS, _WEIGHTS)[0]
