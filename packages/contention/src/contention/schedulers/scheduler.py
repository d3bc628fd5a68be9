"""What the explorer asks of a scheduler, and what a scheduler may say."""

from collections.abc import Sequence
from typing import Protocol

from contention.model.steps import Effect


class NotDeterministicError(Exception):
    """The same choices led to other options: the program has a randomness of its own.

    Args:
        position: at which choice, from 0.
        expected: the options of the earlier run.
        found: the options of this run.
    """

    def __init__(self, position: int, expected: Sequence[str], found: Sequence[str]) -> None:
        super().__init__(position, tuple(expected), tuple(found))
        self.position = position
        self.expected = tuple(expected)
        self.found = tuple(found)

    def __str__(self) -> str:
        return (
            f"choice {self.position} offered {', '.join(self.expected) or 'nothing'} in an earlier "
            f"run and {', '.join(self.found) or 'nothing'} in this one"
        )


class Scheduler(Protocol):
    """Leads the explorer through one run after another.

    The explorer calls `start` before each run, then `choose` and `executed` in turn, and `start`
    again. A run may end at any moment without notice, by the program's end or by its failure.

    An option stays one until it is chosen, unless a step that touches what it would touch takes it
    away (a lease that is given back runs out no more), or it is a poll that would get the same
    answer again while somebody else can go on. Where it matters what leases are left at the end, a
    lease that may run out is an option until the run is over, which is an option of its own then.
    """

    @property
    def is_complete(self) -> bool:
        """Whether every schedule that matters has been run, nothing cut."""

    @property
    def cut_reason(self) -> str:
        """What was left out, as a sentence; empty while nothing was."""

    def start(self) -> bool:
        """Begin another run; `False` when there is none left."""

    def choose(self, options: Sequence[str]) -> str | None:
        """Which actor goes on, of at least one; `None` when the rest of this run is known.

        Args:
            options: the actors that can go on, in an order that is the same whenever the
                choices before were the same.
        """

    def executed(self, effect: Effect) -> None:
        """What the chosen actor's step touched, with everything that it let go on."""
