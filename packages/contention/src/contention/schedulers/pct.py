"""Probabilistic concurrency testing: random priorities with a few random changes.

With ``n`` actors, ``k`` steps and ``d`` ordering constraints a run finds a bug of that depth with
probability at least 1 / (n * k^(d-1)) (Burckhardt and others, "A Randomized Scheduler with
Probabilistic Guarantees of Finding Bugs", 2010). A search that is cut by its number of runs is
never legal: it is UNKNOWN, with that number.
"""

from collections.abc import Sequence
from random import Random

from contention.model.steps import Effect


class PctScheduler:
    """So many random runs, each repeatable from the seed.

    Args:
        runs: how many.
        depth: ordering constraints a bug may have, at least 1; ``depth - 1`` changes a run.
        steps: a generous estimate of the steps of a run; changes fall within it.
        seed: of the random numbers.
    """

    def __init__(self, runs: int, *, depth: int = 3, steps: int = 50, seed: int = 0) -> None:
        if runs < 1 or depth < 1 or steps < 1:
            raise ValueError("runs, depth and steps are at least 1")
        self.runs = runs
        self._depth = depth
        self._steps = steps
        self._seed = seed
        self._run = 0
        self._random = Random(seed)  # noqa: S311 - repeatable, not secret
        self._priorities: dict[str, float] = {}
        self._changes: set[int] = set()
        self._position = 0

    @property
    def is_complete(self) -> bool:
        """Random runs are never complete."""
        return False

    @property
    def cut_reason(self) -> str:
        """That only so many random schedules were run."""
        return f"all but {self._run} random schedules (seed {self._seed})"

    def start(self) -> bool:
        """Draw the changes of another run."""
        if self._run >= self.runs:
            return False
        self._random = Random(f"{self._seed}:{self._run}")  # noqa: S311 - repeatable, not secret
        self._run += 1
        count = min(self._depth - 1, self._steps)
        self._changes = set(self._random.sample(range(self._steps), count))
        self._priorities = {}
        self._position = 0
        return True

    def choose(self, options: Sequence[str]) -> str | None:
        """The actor of the highest priority; at a change, the one at hand falls below all."""
        for option in options:
            if option not in self._priorities:
                self._priorities[option] = 1 + self._random.random()
        chosen = max(options, key=self._priorities.__getitem__)
        if self._position in self._changes:
            self._priorities[chosen] = min(self._priorities.values()) - 1
            chosen = max(options, key=self._priorities.__getitem__)
        self._position += 1
        return chosen

    def executed(self, effect: Effect) -> None:
        """Footprints do not matter here."""
