"""What happened in a run, step by step, as it is judged and as it is reported."""

from dataclasses import dataclass
from enum import StrEnum

from contention.model.footprints import Footprint
from contention.model.schedules import Schedule


class Link(StrEnum):
    """Which server a step asked."""

    POSTGRES = "postgres"
    REDIS = "redis"
    CLOCK = "clock"
    """None: time was made to pass, as when a lease runs out."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a scheduler is told of a step.

    Attributes:
        footprint: all that was touched, by the chosen actor and by those it let go on.
        moved: the other actors who went on with it, as those who had waited for a lock.
        is_blocked: whether the chosen actor's request now waits for somebody.
    """

    footprint: Footprint
    moved: frozenset[str] = frozenset()
    is_blocked: bool = False


@dataclass(frozen=True, slots=True)
class Blocker:
    """Whom a blocked step waits for.

    Attributes:
        actor: the worker, as in ``w1``.
        what: it holds, as in ``row of accounts``; empty when the server does not say.
        since_step: the number of the step with which it came to hold it; `None` if not known.
    """

    actor: str
    what: str = ""
    since_step: int | None = None

    def __str__(self) -> str:
        since = "" if self.since_step is None else f"held since step {self.since_step}"
        inside = ", ".join(filter(None, (self.what, since)))
        return f"{self.actor} ({inside})" if inside else self.actor


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a run's story.

    Attributes:
        number: 1, 2, 3 … within the run.
        actor: the worker, as in ``w1``; for time that passes, what ran out.
        lane: the worker's connection, as in ``w1/2``; empty for time that passes.
        link: which server was asked.
        text: the SQL with its values, or the command.
        result: in short; ``blocked`` while there is none.
        source: where in the worker's code it was asked, as in ``shop.py:12``, or by what its
            function calls, as in ``shop.py:12 → stock.py:40``; empty if not known.
        blocked_by: whom it waits for; empty when it was answered.
        answers: for the later answer to a blocked step, that step's number; `None` otherwise.
        touches: names of the tables and keys, for people; empty when not known.
    """

    number: int
    actor: str
    lane: str
    link: Link
    text: str
    result: str
    source: str = ""
    blocked_by: tuple[Blocker, ...] = ()
    answers: int | None = None
    touches: tuple[str, ...] = ()

    @property
    def is_blocked(self) -> bool:
        """Whether the request waits for somebody."""
        return bool(self.blocked_by)


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its schedule, its story, and why it breaks the promise.

    Attributes:
        schedule: replays it.
        steps: in the order in which they happened.
        reason: what was wrong, as sentences; empty when nothing was.
    """

    schedule: Schedule
    steps: tuple[Step, ...]
    reason: str = ""
