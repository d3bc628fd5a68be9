"""Toy workers that ask for several things at the same time, on lanes of their own.

A worker goes through phases; in each, all its lanes hold a request, and what they are told goes
into one register. It leaves a phase when all lanes are done, or when the first is: then it lets the
others go unanswered. A lock that somebody has is waited for, in the order of asking.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from contention.model.footprints import NOTHING, Footprint, Mode, reads, touching, writes
from contention.model.steps import Effect
from contention.schedulers.scheduler import Scheduler
from contention.wire.held_names import HeldNames

from .toy import Acquire, Load, Operation, Release, Store


@dataclass(frozen=True, slots=True)
class Phase:
    """What is asked side by side.

    Attributes:
        lanes: the operations of each.
        is_race: whether it is over when the first lane is done.
    """

    lanes: tuple[tuple[Operation, ...], ...]
    is_race: bool = False


Program = Sequence[Sequence[Phase]]


@dataclass(slots=True)
class Worker:
    """Where a worker stands: in which phase, and on each lane behind how many operations."""

    phases: Sequence[Phase]
    phase: int = 0
    done: list[int] = field(default_factory=list)
    register: int = 0
    heard: tuple[int, ...] = ()
    waiting: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not self.done:
            self._begin()

    def _begin(self) -> None:
        self.done = [0] * (len(self.phases[self.phase].lanes) if not self.has_ended else 0)

    @property
    def has_ended(self) -> bool:
        return self.phase >= len(self.phases)

    def held(self) -> dict[int, Operation]:
        """The operation that each lane asks for."""
        if self.has_ended:
            return {}
        lanes = self.phases[self.phase].lanes
        return {
            number: operations[at]
            for number, (operations, at) in enumerate(zip(lanes, self.done, strict=True))
            if at < len(operations) and number not in self.waiting
        }

    def answered(self, lane: int) -> Footprint:
        """Go on behind an answer; what is touched by letting others go that wait."""
        self.waiting.discard(lane)
        self.done[lane] += 1
        self.heard += (lane,)
        phase = self.phases[self.phase]
        is_done = self.done[lane] == len(phase.lanes[lane])
        if (self.held() or self.waiting) and not (phase.is_race and is_done):
            return NOTHING
        wanted = [phase.lanes[other][self.done[other]] for other in self.waiting]
        self.phase += 1
        self.waiting.clear()
        self._begin()
        return writes(*(f"lock {one.lock}" for one in wanted if isinstance(one, Acquire)))

    def copy(self) -> "Worker":
        return replace(self, done=list(self.done), waiting=set(self.waiting))


@dataclass(slots=True)
class World:
    """The shared state, and every worker.

    Attributes:
        queues: by lock, who has it and then who waits: the worker, the lane, the worker's phase.
    """

    workers: list[Worker]
    variables: dict[str, int] = field(default_factory=dict)
    queues: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program) -> "World":
        return cls([Worker(phases) for phases in program])

    def copy(self) -> "World":
        workers = [worker.copy() for worker in self.workers]
        queues = {lock: list(queue) for lock, queue in self.queues.items()}
        return World(workers, dict(self.variables), queues)

    def step(self, at: int, lane: int) -> Effect:
        worker = self.workers[at]
        operation = worker.held()[lane]
        if isinstance(operation, Acquire):
            return self._acquire(at, lane, operation.lock)
        if isinstance(operation, Release):
            let_go = worker.answered(lane)
            effect = self._release(at, operation.lock)
            return Effect(effect.footprint.joined([let_go]), effect.moved)
        touched = self._done(worker, operation)
        return Effect(touched.joined([worker.answered(lane)]))

    def _done(self, worker: Worker, operation: Load | Store) -> Footprint:
        match operation:
            case Load(variable):
                worker.register = self.variables.get(variable, 0)
                return reads(variable)
            case Store(variable, amount):
                self.variables[variable] = worker.register + amount
                return writes(variable)

    def _acquire(self, at: int, lane: int, lock: str) -> Effect:
        worker = self.workers[at]
        queue = self.queues.setdefault(lock, [])
        queue.append((at, lane, worker.phase))
        touched = _touched(lock, Mode.ACQUIRE)
        if len(queue) == 1:
            return Effect(touched.joined([worker.answered(lane)]))
        worker.waiting.add(lane)
        return Effect(touched, is_blocked=True)

    def _release(self, by: int, lock: str) -> Effect:
        """Give a lock of a worker's to the first who still waits for it."""
        queue = self.queues.get(lock, [])
        if not queue or queue[0][0] != by:
            return Effect(NOTHING)
        del queue[0]
        touched = _touched(lock, Mode.RELEASE)
        while queue:
            at, lane, phase = queue[0]
            if self.workers[at].phase == phase and lane in self.workers[at].waiting:
                touched = touched.joined([self.workers[at].answered(lane)])
                return Effect(touched, frozenset({f"w{at + 1}"}))
            del queue[0]
        return Effect(touched)

    def outcome(self) -> tuple[object, ...]:
        return (
            tuple(sorted(self.variables.items())),
            tuple((worker.register, worker.heard, worker.has_ended) for worker in self.workers),
        )

    def state(self) -> tuple[object, ...]:
        return (
            self.outcome(),
            tuple((lock, tuple(queue)) for lock, queue in sorted(self.queues.items())),
            tuple(
                (worker.phase, tuple(worker.done), frozenset(worker.waiting))
                for worker in self.workers
            ),
        )


def _touched(lock: str, mode: Mode) -> Footprint:
    """Of the lock m nothing is told but that it changes, as of one that has a time limit."""
    return writes(f"lock {lock}") if lock == "m" else touching(mode, f"lock {lock}")


class Stage:
    """A world whose lanes are called as the kit calls them."""

    def __init__(self, program: Program) -> None:
        self.world = World.of(program)
        self._names = [HeldNames(f"w{at}") for at in range(1, len(program) + 1)]
        self._lanes: dict[str, tuple[int, int]] = {}

    def options(self) -> list[str]:
        self._lanes = {}
        found = []
        for at, worker in enumerate(self.world.workers):
            held = {lane: worker.phase * 100 + worker.done[lane] for lane in worker.held()}
            for name, lane in self._names[at].of(held).items():
                self._lanes[name] = (at, lane)
                found.append(name)
        return found

    def step(self, name: str) -> Effect:
        return self.world.step(*self._lanes[name])


def explore(program: Program, scheduler: Scheduler) -> tuple[set[object], int]:
    """Every outcome the scheduler leads to, and how many runs it took to the end."""
    outcomes: set[object] = set()
    runs = 0
    while scheduler.start():
        stage = Stage(program)
        while options := stage.options():
            chosen = scheduler.choose(options)
            if chosen is None:
                break
            scheduler.executed(stage.step(chosen))
        else:
            outcomes.add(stage.world.outcome())
        runs += 1
    return outcomes, runs


def every_outcome(program: Program) -> set[object]:
    """The truth: every end that can be reached."""
    outcomes: set[object] = set()
    seen: set[object] = set()
    todo = [World.of(program)]
    while todo:
        world = todo.pop()
        following = list(_steps(world))
        if not following:
            outcomes.add(world.outcome())
        for later in following:
            if later.state() not in seen:
                seen.add(later.state())
                todo.append(later)
    return outcomes


def _steps(world: World) -> Iterator[World]:
    for at in range(len(world.workers)):
        for lane in world.workers[at].held():
            later = world.copy()
            later.step(at, lane)
            yield later
