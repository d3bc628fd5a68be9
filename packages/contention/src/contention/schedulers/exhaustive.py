"""Depth first over every schedule that matters, by sleep sets.

Two steps that do not conflict give the same state in either order, so one of the orders is enough.
A node remembers the footprints of the actors it has tried; in the subtrees tried later those actors
sleep until a conflicting step wakes them (Godefroid, "Partial-Order Methods for the Verification of
Concurrent Systems", 1996, chapter 5). Every reachable end state is still reached. A footprint that
is not known conflicts with everything and so never sleeps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contention.model.footprints import NOTHING, Footprint
from contention.model.steps import Effect
from contention.schedulers.scheduler import NotDeterministicError


@dataclass(slots=True)
class _Node:
    """One choice of the run at hand."""

    options: tuple[str, ...]
    asleep: Mapping[str, Footprint]
    current: str
    tried: dict[str, Footprint] = field(default_factory=dict)

    def next_option(self) -> str | None:
        for option in self.options:
            if option not in self.tried and option not in self.asleep:
                return option
        return None

    def asleep_below(self) -> dict[str, Footprint]:
        """Who still sleeps after the current step: those it does not conflict with."""
        taken = self.tried[self.current]
        others = {**self.asleep, **self.tried}
        return {
            actor: footprint
            for actor, footprint in others.items()
            if actor != self.current and not footprint.conflicts_with(taken)
        }


class ExhaustiveScheduler:
    """Every schedule that matters, depth first, the actor at hand going on where it can.

    Args:
        is_reduced: `False` runs every schedule there is; for checking the reduction itself.
    """

    def __init__(self, *, is_reduced: bool = True) -> None:
        self._is_reduced = is_reduced
        self._stack: list[_Node] = []
        self._depth = 0
        self._has_begun = False
        self._is_complete = False

    @property
    def is_complete(self) -> bool:
        """Whether the whole tree has been walked."""
        return self._is_complete

    @property
    def cut_reason(self) -> str:
        """Nothing is ever cut."""
        return ""

    def start(self) -> bool:
        """Step back to the deepest choice that has something left to try."""
        if self._has_begun and not self._step_back():
            self._is_complete = True
            return False
        self._has_begun = True
        self._depth = 0
        return True

    def choose(self, options: Sequence[str]) -> str | None:
        """The choice of the run at hand, or the first that nobody has tried and that is awake."""
        if self._depth < len(self._stack):
            node = self._stack[self._depth]
            if node.options != tuple(options):
                raise NotDeterministicError(self._depth, node.options, options)
            return node.current
        parent = self._stack[-1] if self._stack else None
        asleep = parent.asleep_below() if parent and self._is_reduced else {}
        preferred = sorted(options, key=lambda option: parent is None or option != parent.current)
        awake = [option for option in preferred if option not in asleep]
        if not awake:
            return None
        self._stack.append(_Node(tuple(options), asleep, awake[0]))
        return awake[0]

    def executed(self, effect: Effect) -> None:
        """Remember what the step touched, for those who will sleep on it."""
        node = self._stack[self._depth]
        known = node.tried.get(node.current, NOTHING)
        node.tried[node.current] = effect.footprint.joined([known])
        self._depth += 1

    def _step_back(self) -> bool:
        while self._stack:
            node = self._stack[-1]
            # A run that ended in the middle of a step left no footprint: count it as tried.
            node.tried.setdefault(node.current, Footprint(is_known=False))
            following = node.next_option()
            if following is not None:
                node.current = following
                return True
            self._stack.pop()
        return False
