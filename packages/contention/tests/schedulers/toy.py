"""Toy programs for schedulers: each actor is a list of operations on shared integers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from contention.model.footprints import Footprint, reads, writes
from contention.model.steps import Effect
from contention.schedulers.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class Load:
    """Read a variable into the actor's register."""

    variable: str


@dataclass(frozen=True, slots=True)
class Store:
    """Write register + amount to a variable."""

    variable: str
    amount: int = 1


@dataclass(frozen=True, slots=True)
class Acquire:
    """Take a lock; the actor cannot go on while another holds it."""

    lock: str


@dataclass(frozen=True, slots=True)
class Release:
    """Give a lock back."""

    lock: str


Operation = Load | Store | Acquire | Release
Program = Sequence[Sequence[Operation]]


@dataclass(slots=True)
class World:
    """The shared state, and where each actor stands."""

    program: Program
    variables: dict[str, int] = field(default_factory=dict)
    holders: dict[str, int] = field(default_factory=dict)
    registers: dict[int, int] = field(default_factory=dict)
    positions: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.positions = [0] * len(self.program)

    def options(self) -> list[str]:
        return [f"w{actor}" for actor in range(len(self.program)) if self._can_go_on(actor)]

    def _can_go_on(self, actor: int) -> bool:
        if self.positions[actor] >= len(self.program[actor]):
            return False
        operation = self.program[actor][self.positions[actor]]
        return not (isinstance(operation, Acquire) and operation.lock in self.holders)

    def step(self, name: str) -> Footprint:
        actor = int(name[1:])
        operation = self.program[actor][self.positions[actor]]
        self.positions[actor] += 1
        match operation:
            case Load(variable):
                self.registers[actor] = self.variables.get(variable, 0)
                return reads(variable)
            case Store(variable, amount):
                self.variables[variable] = self.registers.get(actor, 0) + amount
                return writes(variable)
            case Acquire(lock):
                self.holders[lock] = actor
                return writes(f"lock {lock}")
            case Release(lock):
                del self.holders[lock]
                return writes(f"lock {lock}")

    def outcome(self) -> tuple[object, ...]:
        stuck = tuple(
            actor
            for actor in range(len(self.program))
            if self.positions[actor] < len(self.program[actor])
        )
        return (
            tuple(sorted(self.variables.items())),
            tuple(sorted(self.registers.items())),
            stuck,
        )


def explore(program: Program, scheduler: Scheduler) -> tuple[set[tuple[object, ...]], int]:
    """Every outcome the scheduler leads to, and how many runs it took to the end."""
    outcomes, runs = set(), 0
    while scheduler.start():
        world = World(program)
        while options := world.options():
            chosen = scheduler.choose(options)
            if chosen is None:
                break
            scheduler.executed(Effect(world.step(chosen)))
        else:
            outcomes.add(world.outcome())
        runs += 1
    return outcomes, runs
