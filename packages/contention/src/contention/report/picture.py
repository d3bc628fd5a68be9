"""What a run's diagram shows: lanes, who waits from when to when, and circles of waits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contention.model.steps import Link, Run, Step

_DEADLOCK_DETECTED: Final = "40P01"
"""SQLSTATE of the error that ends a deadlock (PostgreSQL documentation, Appendix A)."""


class LaneKind(StrEnum):
    """What a lane stands for, in the order from left to right."""

    WORKER = "worker"
    TABLE = "table"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Lane:
    """One upright line of the diagram."""

    kind: LaneKind
    name: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request's time without an answer.

    Attributes:
        actor: the worker that waits.
        since: the number of the blocked step.
        until: the number of its answer; `None` when the run has none.
        blockers: the workers that it waits for, as far as they belong to the run.
    """

    actor: str
    since: int
    until: int | None
    blockers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Circle:
    """Workers that wait for one another.

    Attributes:
        after: the number of the blocked step that closes the circle.
        actors: each waits for the next, the last for the first.
        is_deadlock: whether the server, or the run's own reason, calls it one. Otherwise another
            connection of one of the workers may have let everybody go on.
    """

    after: int
    actors: tuple[str, ...]
    is_deadlock: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """What the diagram of a run shows beside its steps."""

    lanes: tuple[Lane, ...]
    waits: tuple[Waiting, ...]
    circles: tuple[Circle, ...]

    @classmethod
    def of(cls, run: Run, workers: Sequence[str] = ()) -> "Picture":
        """The picture of a run; workers get a lane even if they did nothing."""
        names = [*workers, *(step.actor for step in run.steps if step.link is not Link.CLOCK)]
        waits = tuple(_waits(run.steps))
        lanes = (Lane(LaneKind.WORKER, name) for name in dict.fromkeys(names))
        return cls((*lanes, *_touched(run.steps)), waits, tuple(_circles(run, waits)))


def targets_of(step: Step) -> tuple[Lane, ...]:
    """The tables or keys that a step touches."""
    kind = LaneKind.TABLE if step.link is Link.POSTGRES else LaneKind.KEY
    return tuple(Lane(kind, name) for name in step.touches)


def _touched(steps: Sequence[Step]) -> list[Lane]:
    """Tables before keys, each in the order in which they were first touched."""
    found = dict.fromkeys(lane for step in steps for lane in targets_of(step))
    return sorted(found, key=lambda lane: list(LaneKind).index(lane.kind))


def _waits(steps: Sequence[Step]) -> Iterator[Waiting]:
    actors = {step.actor for step in steps}
    answers = {step.answers: step.number for step in steps if step.answers is not None}
    for step in steps:
        if step.is_blocked:
            blockers = {blocker.actor for blocker in step.blocked_by} & actors
            yield Waiting(step.actor, step.number, answers.get(step.number), frozenset(blockers))


def _circles(run: Run, waits: Sequence[Waiting]) -> Iterator[Circle]:
    """The circles, each at the step that closes it."""
    for closing in waits:
        open_waits = [one for one in waits if _is_open(one, closing.since)]
        path = _way_back(open_waits, closing.actor)
        if path:
            yield Circle(closing.since, path, _is_deadlock(run, open_waits, path))


def _is_open(wait: Waiting, number: int) -> bool:
    return wait.since <= number and (wait.until is None or wait.until > number)


def _way_back(waits: Sequence[Waiting], start: str) -> tuple[str, ...]:
    """The shortest circle of waits through a worker, from its smallest name on; empty without."""
    following: dict[str, set[str]] = {}
    for wait in waits:
        following.setdefault(wait.actor, set()).update(wait.blockers)
    paths: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    while paths:
        path = paths.pop(0)
        for name in sorted(following.get(path[-1], ())):
            if name == start:
                first = path.index(min(path))
                return path[first:] + path[:first]
            if name not in seen:
                seen.add(name)
                paths.append((*path, name))
    return ()


def _is_deadlock(run: Run, waits: Sequence[Waiting], actors: Sequence[str]) -> bool:
    steps: Mapping[int, Step] = {step.number: step for step in run.steps}
    answers = [steps[one.until] for one in waits if one.actor in actors and one.until]
    return "deadlock" in run.reason or any(_DEADLOCK_DETECTED in one.result for one in answers)
