"""Depth first over every schedule with at most so many preemptions.

A preemption is a switch away from an actor that could have gone on. Most concurrency errors need
very few (Musuvathi and Qadeer, "Iterative Context Bounding", 2007). Sleep sets are not used here:
the order they keep of two that are equal may be the one that needs more preemptions, so that
together they would miss schedules within the bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contention.model.steps import Effect
from contention.schedulers.scheduler import NotDeterministicError


@dataclass(slots=True)
class _Node:
    options: tuple[str, ...]
    left: list[str]
    current: str
    preemptions_before: int


class BoundedScheduler:
    """Every schedule with at most ``preemptions`` of them.

    Args:
        preemptions: at least 0.
    """

    def __init__(self, preemptions: int) -> None:
        if preemptions < 0:
            raise ValueError("a bound of preemptions is at least 0")
        self.preemptions = preemptions
        self._stack: list[_Node] = []
        self._depth = 0
        self._has_begun = False
        self._has_finished = False
        self._has_cut = False

    @property
    def is_complete(self) -> bool:
        """Whether every schedule there is lay within the bound."""
        return self._has_finished and not self._has_cut

    @property
    def has_finished(self) -> bool:
        """Whether every schedule within the bound has been run."""
        return self._has_finished

    @property
    def cut_reason(self) -> str:
        """That schedules with more preemptions were left out, once there were any."""
        return f"schedules with more than {self.preemptions} preemptions" if self._has_cut else ""

    def start(self) -> bool:
        """Step back to the deepest choice that has something left within the bound."""
        if self._has_begun and not self._step_back():
            self._has_finished = True
            return False
        self._has_begun = True
        self._depth = 0
        return True

    def choose(self, options: Sequence[str]) -> str | None:
        """The choice of the run at hand, or the actor at hand where it can go on."""
        if self._depth < len(self._stack):
            node = self._stack[self._depth]
            if node.options != tuple(options):
                raise NotDeterministicError(self._depth, node.options, options)
        else:
            node = self._new_node(tuple(options))
            self._stack.append(node)
        self._depth += 1
        return node.current

    def executed(self, effect: Effect) -> None:
        """Footprints do not matter here."""

    def _new_node(self, options: tuple[str, ...]) -> _Node:
        if not self._stack:
            return _Node(options, list(options[1:]), options[0], 0)
        parent = self._stack[-1]
        used = parent.preemptions_before + self._is_preemption(len(self._stack) - 1)
        if parent.current not in options:
            return _Node(options, list(options[1:]), options[0], used)
        others = [option for option in options if option != parent.current]
        if others and used >= self.preemptions:
            self._has_cut, others = True, []
        return _Node(options, others, parent.current, used)

    def _is_preemption(self, position: int) -> bool:
        """Whether the choice at a position switched away from an actor that could go on."""
        if position == 0:
            return False
        before, node = self._stack[position - 1], self._stack[position]
        return node.current != before.current and before.current in node.options

    def _step_back(self) -> bool:
        while self._stack:
            node = self._stack[-1]
            if node.left:
                node.current = node.left.pop(0)
                return True
            self._stack.pop()
        return False
