"""An isolation test: sessions, their steps, and the orders in which the steps are run."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain


@dataclass(frozen=True, slots=True)
class Step:
    """SQL that one session sends as one simple query.

    Attributes:
        name: unique in its spec.
        sql: as written between the braces, without blanks and tabs at its ends.
        session: the index of its session in `Spec.sessions`.
    """

    name: str
    sql: str
    session: int


@dataclass(frozen=True, slots=True)
class Session:
    """What one connection does: an optional setup and teardown, and at least one step."""

    name: str
    steps: tuple[Step, ...]
    setup_sql: str | None = None
    teardown_sql: str | None = None


@dataclass(frozen=True, slots=True)
class WaitsOnce:
    """The marker ``*``: report the step as waiting as soon as it was sent."""


@dataclass(frozen=True, slots=True)
class UntilDone:
    """The marker ``other``: hold the report of completion while that step is active."""

    step: Step


@dataclass(frozen=True, slots=True)
class UntilNotices:
    """The marker ``other notices n``: hold the report until its session sent ``n`` more notices."""

    step: Step
    count: int


Marker = WaitsOnce | UntilDone | UntilNotices


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step at one place of a permutation, with what holds back the report of its end."""

    step: Step
    markers: tuple[Marker, ...] = ()


Permutation = tuple[PlannedStep, ...]


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed test.

    Attributes:
        setup_sqls: run one by one on the control connection before each permutation.
        teardown_sql: run on the control connection after each permutation.
        sessions: at least one.
        permutations: as written; empty means every interleaving.
    """

    setup_sqls: tuple[str, ...]
    teardown_sql: str | None
    sessions: tuple[Session, ...]
    permutations: tuple[Permutation, ...] = ()

    def schedules(self) -> Iterator[Permutation]:
        """Yield what to run: the written permutations, or else every interleaving.

        Interleavings come in the order of a depth-first walk that tries the sessions as written.
        """
        if self.permutations:
            return iter(self.permutations)
        return _interleavings([session.steps for session in self.sessions])

    def unused_step_names(self) -> list[str]:
        """Return, sorted by bytes, the steps that no written permutation runs."""
        if not self.permutations:
            return []
        used = {planned.step.name for planned in chain.from_iterable(self.permutations)}
        names = {step.name for session in self.sessions for step in session.steps}
        return sorted(names - used, key=lambda name: name.encode("utf-8", "surrogateescape"))


def _interleavings(piles: list[tuple[Step, ...]]) -> Iterator[Permutation]:
    if not any(piles):
        yield ()
    for index, pile in enumerate(piles):
        if pile:
            rest = [*piles[:index], pile[1:], *piles[index + 1 :]]
            for tail in _interleavings(rest):
                yield (PlannedStep(pile[0]), *tail)
