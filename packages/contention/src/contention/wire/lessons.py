"""What the runs of one search have taught about its workers, for all runs after."""

from dataclasses import dataclass, field, replace
from typing import Final

MOST_TRIES: Final = 100
"""Who asks in vain for so many times more, and goes on asking, is taken to ask for ever."""


@dataclass(frozen=True, slots=True, order=True)
class Poll:
    """A worker's loop, told from its other loops by what it asks first.

    Attributes:
        asks: what it asks, without values that are made anew in each run.
    """

    worker: str
    asks: str


@dataclass(slots=True)
class Lessons:
    """What is known of the workers by now.

    Attributes:
        tries: how often a loop asks in vain before its worker does something else; `None` for one
            that was seen to go on for longer than anybody waits.
        has_alone: whether a statement that may lock or write was a transaction of its own.
        has_entangled: whether what a statement does may hang on when another transaction ends,
            beyond the one row that both are about.
        bodies: statements inside of which the server may run several, as in a function.
    """

    tries: dict[Poll, int | None] = field(default_factory=dict)
    has_alone: bool = False
    has_entangled: bool = False
    bodies: set[str] = field(default_factory=set)

    @property
    def ends_apart(self) -> bool:
        """Whether the end of a statement's own transaction is a step of its own; ADR 0022."""
        return self.has_alone and self.has_entangled

    def while_asking(self, poll: Poll) -> "Lessons":
        """The same while it is tried out how often a loop asks in vain."""
        return replace(self, tries={**self.tries, poll: MOST_TRIES + 1})
